"""The training loop: exact resume after SIGKILL, determinism, callbacks, refusals."""

import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.callbacks import AveragedWeights, RunLog, SaveBest
from models.checkpoint import Checkpoint
from models.data import Split
from models.errors import InputError
from models.optimization import build_optimizer
from models.settings import (
    AugmentationSettings,
    CoronetSettings,
    MlpSettings,
    SvmSettings,
    TrainingSettings,
)
from models.training import Fitted, Job, compiled_network, fit

SCRIPT = Path(__file__).with_name("resumable_training.py")
KILLED_AFTER = 5


def _bands(count: int, seed: int, side: int = 16) -> Split:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    images = rng.integers(0, 120, (count, side, side, 1))
    for image, label in zip(images, labels, strict=True):
        image[side // 4 * label : side // 4 * (label + 1)] += 60
    return Split(images.astype(np.uint8), labels)


def _mlp(**training: Any) -> MlpSettings:
    defaults = {"epochs": 6, "learning_rate": 0.01, "optimizer": "adam", "schedule": "constant"}
    return MlpSettings(
        hidden=(16,),
        activations=("sigmoid",),
        training=TrainingSettings(**defaults | training),
    )


def _fit(folder: Path, settings: MlpSettings, seed: int = 3, checkpoint: str = "") -> Fitted:
    job = Job("mlp", settings, seed, str(folder / "run"), checkpoint)
    return fit(job, _bands(64, 1), _bands(32, 2))


def _start(folder: Path, checkpoints: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), str(checkpoints)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _finished(process: subprocess.Popen) -> tuple[list[str], dict]:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    lines = output.splitlines()
    return lines, json.loads(lines[-1])


def _epochs(checkpoints: Path) -> int:
    state = checkpoints / "state.json"
    return json.loads(state.read_text())["epochs"] if state.is_file() else 0


def test_a_killed_training_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    whole = _start(tmp_path / "whole", tmp_path / "whole-checkpoints")
    checkpoints = tmp_path / "checkpoints"
    killed = _start(tmp_path / "killed", checkpoints)
    while _epochs(checkpoints) < KILLED_AFTER:
        assert killed.poll() is None
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    done = _epochs(checkpoints)
    assert KILLED_AFTER <= done < 60

    lines, resumed = _finished(_start(tmp_path / "resumed", checkpoints))
    _, expected = _finished(whole)
    assert f"goes on after epoch {done}" in lines[0]
    assert resumed == expected
    assert resumed["history"]["epoch"] == list(range(1, 61))
    assert len(set(resumed["history"]["learning_rate"])) > 1  # the plateau was remembered
    stored = json.loads((tmp_path / "resumed" / "history.json").read_text())
    assert stored == resumed["history"]


def _network_with_dropout() -> keras.Model:
    keras.utils.set_random_seed(5)
    network = keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(8),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(4, activation="softmax"),
        ]
    )
    network.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", metrics=["accuracy"])
    network.optimizer.build(network.trainable_variables)
    return network


def test_a_checkpoint_keeps_random_states_and_statistics(tmp_path: Path) -> None:
    split = _bands(32, 1)
    data = split.images / np.float32(255), np.eye(4, dtype=np.float32)[split.labels]

    def run(folder: str, epochs: int, key: str = "same") -> tuple[int, list[np.ndarray]]:
        network, best = _network_with_dropout(), SaveBest("last")
        checkpoint = Checkpoint(str(tmp_path / folder), key, best, [])
        network.fit(
            *data,
            validation_data=data,
            initial_epoch=checkpoint.finished_epochs,
            epochs=epochs,
            shuffle=False,
            callbacks=[best, checkpoint],
            verbose=0,
        )
        return checkpoint.finished_epochs, network.get_weights()

    _, whole = run("whole", 4)
    run("parts", 2)
    _, resumed = run("parts", 4)
    for expected, found in zip(whole, resumed, strict=True):
        np.testing.assert_array_equal(expected, found)
    # A checkpoint of another job is void.
    _, other = run("parts", 1, key="other")
    assert not np.array_equal(other[0], resumed[0])
    assert _epochs(tmp_path / "parts") == 1


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    checkpoints = str(tmp_path / "checkpoints")
    first = _fit(tmp_path / "a", _mlp(), checkpoint=checkpoints)
    again = _fit(tmp_path / "b", _mlp(), checkpoint=checkpoints)
    assert again.history == first.history
    assert again.best_epoch == first.best_epoch
    for expected, found in zip(first.weights, again.weights, strict=True):
        np.testing.assert_array_equal(expected, found)
    assert again.images_per_second == first.images_per_second > 0
    # Without training: the history alone, which the report reads, and no events.
    (history,) = (tmp_path / "b" / "run").iterdir()
    assert json.loads(history.read_text()) == first.history


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_mixed_precision_goes_on_where_it_stopped(
    tmp_path: Path, precision: str, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _mlp(epochs=4, precision=precision, optimizer=optimizer, momentum=0.9)
    whole = _fit(tmp_path / "whole", settings)
    checkpoints = str(tmp_path / "checkpoints")
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "on_epoch_begin", _interrupt_at(2))
        with pytest.raises(InterruptedError):
            _fit(tmp_path / "killed", settings, checkpoint=checkpoints)
    assert _epochs(Path(checkpoints)) == 2
    resumed = _fit(tmp_path / "resumed", settings, checkpoint=checkpoints)
    assert resumed.history == whole.history
    for expected, found in zip(whole.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(expected, found)


def _interrupt_at(chosen: int) -> Callable[..., None]:
    def interrupt(self: Checkpoint, epoch: int, logs: object = None) -> None:
        if epoch == chosen:
            raise InterruptedError(f"epoch {epoch}")

    return interrupt


@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_adamw_decays_kernels_alone_and_by_what_is_set(decay: float) -> None:
    settings = _mlp(optimizer="adamw", weight_decay=decay)
    network = compiled_network(settings, (8, 8), steps_per_epoch=1)
    assert network.optimizer.weight_decay == decay
    decayed = {
        variable.path
        for variable in network.trainable_variables
        if network.optimizer._use_weight_decay(variable)
    }
    if decay:
        assert decayed == {"hidden_1/kernel", "softmax/kernel"}


def test_coronet_learns_and_two_runs_give_the_same_weights(tmp_path: Path) -> None:
    settings = CoronetSettings(
        dense_units=16,
        training=TrainingSettings(
            epochs=2, batch_size=16, learning_rate=0.01, schedule="cosine", save_best="last"
        ),
        augmentation=AugmentationSettings(rotation_degrees=5, shift=0.05, shear=0, zoom=0.05),
    )
    runs = [
        fit(Job("coronet", settings, 3, str(tmp_path / name)), _bands(48, 1, 32), _bands(8, 2, 32))
        for name in ("one", "two")
    ]
    for first, second in zip(runs[0].weights, runs[1].weights, strict=True):
        np.testing.assert_array_equal(first, second)
    losses = runs[0].history["loss"]
    assert losses[1] < losses[0]


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    first, second = (_fit(tmp_path / str(seed), _mlp(epochs=1), seed) for seed in (3, 4))
    assert not np.allclose(first.weights[0], second.weights[0])


def test_history_lines_and_event_files(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    fitted = _fit(tmp_path, _mlp(epochs=3))
    folder = tmp_path / "run"
    history = json.loads((folder / "history.json").read_text())
    assert history == fitted.history
    assert set(history) == {
        *("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
    }
    assert history["epoch"] == [1, 2, 3]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all("mlp epoch" in line and "ETA" in line for line in lines)
    (events,) = folder.glob("events.out.tfevents.*")
    tags = {
        value.tag
        for record in tf.data.TFRecordDataset(str(events))
        for value in tf.compat.v1.Event.FromString(record.numpy()).summary.value
    }
    assert tags == set(history) - {"epoch"}


def _saved_epochs(rule: str, epochs: list[tuple[float, float]]) -> list[int]:
    network, saved = _network_with_dropout(), []
    best = SaveBest(rule)
    best.set_model(network)
    for epoch, (loss, accuracy) in enumerate(epochs):
        best.on_epoch_end(epoch, {"val_loss": loss, "val_accuracy": accuracy})
        if best.best_epoch == epoch + 1:
            saved.append(epoch + 1)
    return saved


@pytest.mark.parametrize(
    ("rule", "saved"),
    [
        ("both", [1, 4]),
        ("loss", [1, 2, 4, 5]),
        ("accuracy", [1, 2, 3, 6]),
        ("last", [1, 2, 3, 4, 5, 6]),
    ],
)
def test_save_best_rules(rule: str, saved: list[int]) -> None:
    epochs = [(1.0, 0.5), (0.8, 0.5), (1.2, 0.7), (0.7, 0.6), (0.6, 0.6), (0.9, 0.7)]
    assert _saved_epochs(rule, [*epochs, (math.nan, 0.9)]) == saved


def test_averaged_weights_are_applied_and_taken_back() -> None:
    momentum = 0.9
    network = compiled_network(_mlp(ema_momentum=momentum), (16, 16), steps_per_epoch=1)
    averaged = AveragedWeights()
    averaged.set_model(network)
    split = _bands(16, 1)
    batch = split.images / np.float32(255), np.eye(4)[split.labels]
    steps = []
    for _ in range(3):
        network.train_on_batch(*batch)
        steps.append(network.trainable_variables[0].numpy())
    with averaged.applied():
        inside = network.trainable_variables[0].numpy()
    np.testing.assert_array_equal(network.trainable_variables[0].numpy(), steps[-1])
    expected = steps[0]  # Keras's average starts at the first step's weights
    for weights in steps[1:]:
        expected = momentum * expected + (1 - momentum) * weights
    np.testing.assert_allclose(inside, expected, atol=1e-6)


def test_plateau_lowers_the_rate_after_the_papers_patience(tmp_path: Path) -> None:
    # A validation loss that never falls by 0.1 is a plateau from the first epoch on.
    settings = _mlp(epochs=8, schedule="plateau", learning_rate=1e-4)
    rates = _fit(tmp_path, settings).history["learning_rate"]
    np.testing.assert_allclose(rates, [1e-4] * 4 + [1e-5] * 3 + [1e-6], rtol=1e-5)


def test_early_stopping_stops(tmp_path: Path) -> None:
    # So small a rate changes no float32, and improves nothing after the first epoch.
    settings = _mlp(epochs=30, learning_rate=1e-12, early_stopping_patience=2)
    assert _fit(tmp_path, settings).history["epoch"] == [1, 2, 3]


def test_a_diverged_svm_names_the_knob_that_it_has(tmp_path: Path) -> None:
    settings = SvmSettings(epsilon=1e38, training=TrainingSettings(epochs=2))
    job = Job("svm", settings, 3, str(tmp_path / "run"))
    with pytest.raises(InputError, match=r"lower svm\.epsilon \(now 1e\+38\)"):
        fit(job, _bands(16, 1), _bands(16, 2))


def test_a_diverged_training_is_an_error_that_names_the_knob(tmp_path: Path) -> None:
    split = _bands(16, 1)
    settings = MlpSettings(
        hidden=(8,),
        activations=("exponential",),
        training=TrainingSettings(epochs=2, learning_rate=1e30, schedule="constant"),
    )
    with pytest.raises(InputError, match=r"mlp\.training\.learning_rate"):
        fit(Job("mlp", settings, 0, str(tmp_path)), split, split)


def test_cosine_warms_up_then_falls_to_zero() -> None:
    training = TrainingSettings(
        epochs=10, learning_rate=0.5, schedule="cosine", warmup_epochs=2, optimizer="adamw"
    )
    rate = build_optimizer(training, steps_per_epoch=5)._learning_rate
    found = [float(rate(step)) for step in (0, 5, 10, 30, 50)]
    np.testing.assert_allclose(found, [0, 0.25, 0.5, 0.25, 0], atol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_weight_decay_spares_biases_and_normalisation(optimizer: str) -> None:
    training = TrainingSettings(optimizer=optimizer, weight_decay=0.1, learning_rate=0.1)
    network = _network_with_dropout()
    built = build_optimizer(training, steps_per_epoch=1)
    built.build(network.trainable_variables)
    decayed = [v.name for v in network.trainable_variables if built._use_weight_decay(v)]
    assert decayed == ["kernel", "kernel"]


def test_mixed_precision_computes_low_and_keeps_weights_in_float32() -> None:
    network = compiled_network(_mlp(precision="mixed_bfloat16"), (16, 16), steps_per_epoch=1)
    assert network.get_layer("hidden_1").compute_dtype == "bfloat16"
    assert network.get_layer("softmax").compute_dtype == "float32"
    assert {str(weight.dtype) for weight in network.weights} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"


def test_margins_refuse_soft_labels() -> None:
    with pytest.raises(ValueError, match="mixup_alpha"):
        SvmSettings(training=TrainingSettings(mixup_alpha=0.2))


def test_throughput_leaves_out_the_epoch_that_compiles() -> None:
    log = RunLog("", "mlp", 3, 100, SaveBest("last"))
    log.training_seconds = [50.0, 2.0, 3.0]
    assert log.images_per_second == pytest.approx(200 / 5)


def test_a_line_tells_what_is_left_without_the_epoch_that_compiles() -> None:
    best = SaveBest("last")
    best.best_epoch = 2
    log = RunLog("", "mlp", 5, 100, best)
    log.training_seconds = [50.0, 2.0, 4.0]
    log._durations = [50.0, 3.0, 5.0]
    names = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
    values = {name: (number + 1) / 10 for number, name in enumerate(names)}
    line = log._line(3, values)
    assert line == (
        "mlp epoch 3/5  loss 0.1000  accuracy 0.2000  val_loss 0.3000  val_accuracy 0.4000"
        "  rate 5.00e-01  25.0 images/s  ETA 0:00:08"
    )
    best.best_epoch = 3
    assert log._line(3, values) == f"{line}  saved"
