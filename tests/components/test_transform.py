"""Transform's memory: batches of images are bounded by their bytes."""

import pytest
from absl import flags
from tfx.components.transform import executor as tfx_executor
from tfx_bsl.coders.batch_util import GetBatchElementsKwargs

from components.transform.component import Transform
from components.transform.executor import Executor


@pytest.fixture(autouse=True)
def _flags_as_before():
    flag = flags.FLAGS["tfxio_use_byte_size_batching"]
    before = flag.default
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
