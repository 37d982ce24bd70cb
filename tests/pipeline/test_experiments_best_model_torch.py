"""The PyTorch side of the submitted model; runs where PyTorch is installed.

KERAS_BACKEND=torch pytest tests/pipeline/test_experiments_best_model_torch.py
"""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="NOT RUN without PyTorch: pipeline/experiments/best_model/requirements.txt"
)

from models.coronet import build_coronet  # noqa: E402
from pipeline.experiments.best_model import data  # noqa: E402
from pipeline.experiments.best_model.losses import FeatureHints, cross_entropy, distillation  # noqa: E402
from pipeline.experiments.best_model.mixing import mix  # noqa: E402
from pipeline.experiments.best_model.network import Coronet  # noqa: E402
from pipeline.experiments.best_model.recalibrate import recalibrate  # noqa: E402
from pipeline.experiments.best_model.train import Job, predict, train  # noqa: E402


@pytest.mark.parametrize("size", [200, 64])
def test_the_network_is_figure_14(size: int) -> None:
    torch.manual_seed(0)
    network = Coronet()
    for module in network.convolutions():  # statistics that a fresh network does not have
        module.normalization.running_mean.uniform_(-0.2, 0.2)
        module.normalization.running_var.uniform_(0.5, 1.5)
        torch.nn.init.uniform_(module.normalization.weight, 0.5, 1.0)
        torch.nn.init.uniform_(module.convolution.bias, -0.1, 0.1)
    model = build_coronet(size)
    weights = network.keras_weights(size)
    for layer in model.layers:
        for variable in layer.variables:
            if variable.name != "seed_generator_state":
                variable.assign(weights.pop(f"{layer.name}/{variable.name}"))
    assert not weights
    images = np.random.default_rng(0).random((2, size, size, 1), np.float32)
    images[1] = 0
    theirs = keras.ops.convert_to_numpy(model(images, training=False))
    with torch.no_grad():
        ours = network.eval()(torch.from_numpy(images.transpose(0, 3, 1, 2))).softmax(1).numpy()
    np.testing.assert_allclose(ours, theirs, atol=2e-6)
    assert np.abs(ours[0] - ours[1]).max() > 1e-4  # the agreement is not of constants


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0)])
def test_targets_are_mixed_as_the_pixels_are(mixup: float, cutmix: float) -> None:
    labels = torch.arange(4)
    images = labels.float().reshape(4, 1, 1, 1).expand(4, 1, 16, 16).contiguous()
    targets, weights = torch.eye(4), torch.tensor([1.0, 2.0, 3.0, 4.0])
    random = np.random.default_rng(3)
    for _ in range(20):
        mixed, soft, weighed = mix(images, targets, weights, random, mixup, cutmix)
        values = torch.arange(4).float()
        torch.testing.assert_close(mixed.mean((1, 2, 3)), soft @ values)
        torch.testing.assert_close(weighed, soft @ weights)
        torch.testing.assert_close(soft.sum(1), torch.ones(4))


def test_cross_entropy_is_pytorchs() -> None:
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    weights = torch.tensor([1.0, 2.0, 1.0, 5.0])
    ours = cross_entropy(logits, torch.eye(4)[labels], weights[labels])
    torch.testing.assert_close(
        ours, torch.nn.functional.cross_entropy(logits, labels, weight=weights)
    )


def test_distillation_is_least_for_the_teachers_own_logits() -> None:
    teacher = torch.randn(5, 4)
    assert distillation(teacher, [teacher]).abs() < 1e-6
    assert distillation(teacher + torch.randn(5, 4), [teacher]) > 1e-3


def test_hints_can_be_learned() -> None:
    torch.manual_seed(1)
    student = torch.randn(4, 512, 11, 11), torch.randn(4, 1024, 6, 6)
    teacher = torch.randn(4, 6, 13, 13), torch.randn(4, 7, 7, 7)
    hints = FeatureHints(6, 7)
    optimizer = torch.optim.Adam(hints.parameters(), 1e-2)
    first = last = hints(student, teacher)
    for _ in range(40):
        optimizer.zero_grad()
        last = hints(student, teacher)
        last.backward()
        optimizer.step()
    assert last < 0.5 * first


def test_statistics_are_those_of_the_images_and_their_mirror_images() -> None:
    random = np.random.default_rng(4)
    images = random.integers(0, 256, (32, 12, 12)).astype(np.uint8)
    network = torch.nn.Sequential(torch.nn.BatchNorm2d(1, momentum=0.1))
    recalibrate(network, images, seed=0)
    unit = images.astype(np.float64) / 255
    (normalization,) = network
    assert normalization.running_mean.item() == pytest.approx(unit.mean(), rel=1e-3)
    assert normalization.running_var.item() == pytest.approx(unit.var(), rel=1e-2)
    assert normalization.momentum == 0.1
    assert not network.training


def test_a_cycle_can_be_left_early_and_taken_up_from_its_weights(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    prepared = data.Prepared(
        images=random.integers(0, 256, (20, 40, 40)).astype(np.uint8),
        labels=np.arange(20) % 4,
        folds=np.repeat([0, 1, 1, 1, 1], 4),
    )
    job = Job(Coronet(), size=32, epochs=3, rate=1e-4, weight_decay=0, seed=1, batch=8)
    job.stop_after = 2
    before = job.network.dense.weight.detach().clone()
    train(job, prepared, 0, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    probabilities = predict(job.network, prepared.images[:4], 32)
    right = (probabilities.argmax(1) == prepared.labels[:4]).mean()
    assert lines[-1]["val_accuracy"] == pytest.approx(right)
    assert not torch.equal(job.network.dense.weight, before)
    saved = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert all(torch.equal(value, saved[key]) for key, value in job.network.state_dict().items())
