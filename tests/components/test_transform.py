"""Transform's memory and speed: batches bounded by bytes, one thread in each worker process."""

import os
import subprocess
import sys

import pytest
from absl import flags
from tfx.components.transform import executor as tfx_executor
from tfx_bsl.coders.batch_util import GetBatchElementsKwargs

from components.transform.component import Transform
from components.transform.executor import Executor, one_thread_in_each_worker

_COUNT_THREADS = """
import os
import tensorflow as tf

tf.function(lambda: tf.map_fn(lambda row: row * 2.0, tf.ones([8, 40_000])))()
print(len(os.listdir("/proc/self/task")))
"""


@pytest.fixture(autouse=True)
def _flags_as_in_a_new_process():
    flag = flags.FLAGS["tfxio_use_byte_size_batching"]
    before = flag.default
    flags.FLAGS.set_default(flag.name, False)
    yield
    flags.FLAGS.set_default(flag.name, before)


def test_the_component_runs_our_executor():
    assert Transform.EXECUTOR_SPEC.executor_class is Executor


def test_batches_are_bounded_by_bytes_where_tfx_lays_down_the_pipeline(monkeypatch):
    laid_down = {}
    monkeypatch.setattr(
        tfx_executor.Executor,
        "Do",
        lambda *_: laid_down.update(GetBatchElementsKwargs(batch_size=None)),
    )
    assert GetBatchElementsKwargs(batch_size=None)["max_batch_size"] == 1000  # images
    Executor().Do({}, {}, {})
    assert laid_down["max_batch_size"] == 20 * 1024 * 1024  # bytes
    assert laid_down["element_size_fn"](bytes(50_000)) == 50_000


def test_workers_have_one_thread_each_and_this_process_keeps_its_own(monkeypatch):
    def threads_of_a_worker() -> int:
        done = subprocess.run(
            [sys.executable, "-c", _COUNT_THREADS], check=True, stdout=subprocess.PIPE, text=True
        )
        return int(done.stdout)

    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        monkeypatch.delenv(name, raising=False)
    with one_thread_in_each_worker():
        one = threads_of_a_worker()
    assert "TF_NUM_INTRAOP_THREADS" not in os.environ

    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "4")
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "4")
    with one_thread_in_each_worker():
        chosen = threads_of_a_worker()
    assert chosen >= one + 3  # what the user has set stays
    assert os.environ["TF_NUM_INTRAOP_THREADS"] == "4"
