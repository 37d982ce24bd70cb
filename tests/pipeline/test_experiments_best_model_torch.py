"""The PyTorch side of the submitted model; runs where PyTorch is installed.

KERAS_BACKEND=torch pytest --noconftest tests/pipeline/test_experiments_best_model_torch.py
"""

import json
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="NOT RUN without PyTorch: pipeline/experiments/best_model/requirements.txt"
)

from models.coronet import build_coronet  # noqa: E402
from pipeline.experiments.best_model import crossed_teacher, data, unseen  # noqa: E402
from pipeline.experiments.best_model import train as training  # noqa: E402
from pipeline.experiments.best_model.feature_teacher import unseen_probabilities  # noqa: E402
from pipeline.experiments.best_model.lessons import Lessons  # noqa: E402
from pipeline.experiments.best_model.losses import (  # noqa: E402
    TEMPERATURE,
    cross_entropy,
    distillation,
)
from pipeline.experiments.best_model.mixing import mix, numbered_mix  # noqa: E402
from pipeline.experiments.best_model.network import Coronet  # noqa: E402
from pipeline.experiments.best_model.recalibrate import recalibrate  # noqa: E402
from pipeline.experiments.best_model.soft_labels import (  # noqa: E402
    SoftLabels,
    answer,
    load,
    load_teacher,
)
from pipeline.experiments.best_model.train import (  # noqa: E402
    Batches,
    Job,
    predict,
    train,
)
from pipeline.experiments.best_model.views import numbered_view  # noqa: E402


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


def test_targets_are_mixed_as_the_pixels_are() -> None:
    labels = torch.arange(4)
    images = labels.float().reshape(4, 1, 1, 1).expand(4, 1, 16, 16).contiguous()
    targets, weights = torch.eye(4), torch.tensor([1.0, 2.0, 3.0, 4.0])
    random = np.random.default_rng(3)
    for _ in range(20):
        mixed, soft, weighed = mix(images, targets, weights, random, 0.4)
        values = torch.arange(4).float()
        torch.testing.assert_close(mixed.mean((1, 2, 3)), soft @ values)
        torch.testing.assert_close(weighed, soft @ weights)
        torch.testing.assert_close(soft.sum(1), torch.ones(4))


def test_a_numbered_mix_is_always_the_same_and_names_its_parts(monkeypatch) -> None:
    # Flat images, shown as they are: the mean of a mix tells its share.
    monkeypatch.setattr(
        "pipeline.experiments.best_model.mixing.random_view",
        lambda image, random, settings: image.astype(np.float32) / 255,
    )
    levels = np.array([0, 50, 100, 200, 250], np.uint8)
    images = np.broadcast_to(levels[:, None, None], (5, 16, 16))
    drawn = np.array([1, 3, 4])
    seen = set()
    for number in range(30):
        mixed = numbered_mix(images, drawn, number)
        again = numbered_mix(images, drawn, number)
        np.testing.assert_array_equal(mixed.image, again.image)
        assert {mixed.first, mixed.second} <= set(drawn)
        assert mixed.first != mixed.second
        assert mixed.image.mean() * 255 == pytest.approx(mixed.of(levels.astype(float)), abs=1e-3)
        seen.add(len(np.unique(mixed.image)))
    assert seen == {1, 2}  # blended everywhere, or pasted


def test_cross_entropy_is_pytorchs() -> None:
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    weights = torch.tensor([1.0, 2.0, 1.0, 5.0])
    ours = cross_entropy(logits, torch.eye(4)[labels], weights[labels])
    torch.testing.assert_close(
        ours, torch.nn.functional.cross_entropy(logits, labels, weight=weights)
    )


def test_distillation_is_least_for_the_teachers_own_logits() -> None:
    teacher = torch.randn(5, 4)
    soft = (teacher / TEMPERATURE).softmax(1)
    assert distillation(teacher, soft).abs() < 1e-6
    assert distillation(teacher + torch.randn(5, 4), soft) > 1e-3


def softened(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64) / TEMPERATURE)
    return powers / powers.sum(-1, keepdims=True)


def test_every_teacher_counts_the_same() -> None:
    random = np.random.default_rng(6)
    first, second = (
        SoftLabels(random.normal(size=(5, 2, 4)), random.normal(size=(3, 4))) for _ in range(2)
    )
    answers = softened(random.normal(size=(5, 4)))
    lessons = Lessons.of([first, second], [answers])
    views = [softened(one.views) for one in (first, second)]
    (third,) = [softened(np.log(answers))]
    expected = (views[0][4, 1] + views[1][4, 1] + third[4]) / 3
    np.testing.assert_allclose(lessons.of_view(4, 1), expected, atol=1e-6)
    mix = numbered_mix(np.zeros((5, 8, 8), np.uint8), np.arange(5), 2)
    mixes = [softened(one.mixes)[2] for one in (first, second)]
    parts = mix.share * third[mix.first] + (1 - mix.share) * third[mix.second]
    np.testing.assert_allclose(lessons.of_mix(2, mix), (sum(mixes) + parts) / 3, atol=1e-6)
    np.testing.assert_allclose(Lessons.of([first], []).of_view(4, 1), views[0][4, 1], atol=1e-6)


def test_an_image_is_answered_by_models_that_have_not_seen_it() -> None:
    random = np.random.default_rng(7)
    features = random.normal(size=(400, 210)).astype(np.float32)
    labels, folds = np.arange(400) % 4, np.arange(400) // 4 % 2
    # Nothing can be learned from noise: whoever has seen an image could only know it by heart.
    found = unseen_probabilities([features], labels, folds)
    assert (found.argmax(1) == labels).mean() < 0.4
    features[:, :80] += 2 * labels[:, None]
    found = unseen_probabilities([features], labels, folds)
    assert (found.argmax(1) == labels).mean() > 0.9
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    # A small set has fewer images, and small images fewer numbers, than the models' components.
    for few in (
        unseen_probabilities([features[:80]], labels[:80], folds[:80]),
        unseen_probabilities([features[:, :80]], labels, folds),
    ):
        assert (few.argmax(1) == labels[: len(few)]).mean() > 0.9


class MeanTeacher(torch.nn.Module):
    """Answers with the mean of the image, so that a label tells which view it is of."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((1, 2, 3))[:, None].expand(-1, 4)


def blobs(count: int, side: int) -> data.Prepared:
    random = np.random.default_rng(5)
    return data.Prepared(
        images=random.integers(0, 256, (count, side, side)).astype(np.uint8),
        stretched=np.zeros((count, 1, 1), np.uint8),
        labels=np.arange(count) % 4,
        folds=np.repeat([0, 1, 1, 1, 1], count // 5),
    )


@pytest.mark.parametrize("mixed", [0.0, 1.0])
def test_every_picture_goes_with_its_own_soft_label(tmp_path: Path, mixed: float) -> None:
    prepared, everything = blobs(20, 24), np.arange(20)
    answer(MeanTeacher(), prepared.images, everything, views=3, mixes=7).save(tmp_path / "1.npz")
    labels = load(tmp_path / "1.npz")
    view = numbered_view(prepared.images[4], 4, 2)
    assert labels.views[4, 2, 0] == pytest.approx(view.mean(), abs=1e-3)
    # Kept as they are in place of softened, the labels name their pictures by the mean.
    lessons = Lessons(labels.views[None], labels.mixes[None], np.empty((0, 20, 4)))
    job = Job(
        torch.nn.Identity(), size=24, epochs=1, rate=0, weight_decay=0, seed=1, batch=8,
        mixed=mixed, lessons=lessons, imitation=1.0,
    )  # fmt: skip
    batch = next(iter(Batches(prepared, everything, everything, job)))
    torch.testing.assert_close(batch.images.mean((1, 2, 3)), batch.soft[:, 0], atol=1e-3, rtol=0)
    if not mixed:
        assert sorted(batch.targets.unique().tolist()) == pytest.approx([0.025, 0.925])


def test_a_teacher_in_detail_is_asked_about_the_pictures_that_the_student_sees(
    tmp_path: Path,
) -> None:
    random = np.random.default_rng(3)
    coarse = random.integers(0, 256, (6, 5, 5)).astype(np.uint8)
    small, large = (
        np.stack([cv2.resize(one, (side, side), interpolation=cv2.INTER_CUBIC) for one in coarse])
        for side in (200, 320)
    )
    labels, folds = np.arange(6) % 4, np.zeros(6, np.int64)
    data.save(tmp_path / data.TRAIN_FILE, images=small, stretched=large, labels=labels, folds=folds)
    prepared, detailed = data.load(tmp_path), data.load(tmp_path, detail=True)
    np.testing.assert_array_equal(detailed.images, large)

    def apart(one: np.ndarray, other: np.ndarray) -> float:
        return float(
            np.abs(cv2.resize(other, (200, 200), interpolation=cv2.INTER_AREA) - one).mean()
        )

    views = [[numbered_view(images[2], 2, n) for images in (small, large)] for n in range(4)]
    assert max(apart(one, other) for one, other in views) < 0.02
    assert apart(views[0][0], views[1][1]) > 0.04  # other views are that far apart
    for number in range(8):
        seen, asked = (
            numbered_mix(one.images, np.arange(6), number) for one in (prepared, detailed)
        )
        assert (seen.first, seen.second) == (asked.first, asked.second)
        assert seen.share == pytest.approx(asked.share, abs=0.02)
        assert apart(seen.image, asked.image) < 0.02


def test_a_fold_is_asked_of_the_network_that_did_not_see_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = blobs(20, 24)
    arrays = {field: getattr(prepared, field) for field in ("images", "labels")}
    folds = np.repeat([0, 1, 2, 1], 5)
    data.save(tmp_path / data.TRAIN_FILE, **arrays, stretched=prepared.images, folds=folds)
    logits = np.zeros((20, 3, 4), np.float32)
    logits[..., 2] = 5
    SoftLabels(logits, logits[0]).save(tmp_path / "seen.npz")
    students = {fold: Coronet() for fold in (1, 2)}
    for fold, student in students.items():
        torch.nn.init.constant_(student.output.weight, 0)
        student.output.bias.data = torch.eye(4)[fold] * 5
        torch.save(student.state_dict(), tmp_path / f"{fold}.pt")
    teachers = [f"--teacher={fold}:coronet:{tmp_path / str(fold)}.pt" for fold in students]
    command = [
        "crossed_teacher",
        "--fold=0",
        f"--work={tmp_path}",
        f"--output={tmp_path / 'out.npz'}",
    ]
    command += [f"--soft-labels={tmp_path / 'seen.npz'}", "--size=64"]
    monkeypatch.setattr("sys.argv", [*command, *teachers])
    crossed_teacher.main()
    found = unseen.load(tmp_path / "out.npz")
    np.testing.assert_array_equal(found.argmax(1), np.where(folds == 0, 2, folds))
    monkeypatch.setattr("sys.argv", [*command, teachers[0]])
    with pytest.raises(SystemExit):
        crossed_teacher.main()
    assert "no --teacher for fold" in capsys.readouterr().err


def test_an_earlier_student_teaches(tmp_path: Path) -> None:
    torch.manual_seed(0)
    student = Coronet().eval()
    torch.save(student.state_dict(), tmp_path / "weights.pt")
    teacher = load_teacher(f"coronet:{tmp_path / 'weights.pt'}")
    images = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(teacher(images), student(images), atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match=r"vgg:weights.pt.*lite0"):
        load_teacher("vgg:weights.pt")


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


def lines_of(run: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def a_job() -> Job:
    torch.manual_seed(0)
    return Job(Coronet(), size=32, epochs=3, rate=1e-4, weight_decay=0, seed=1, batch=8)


def test_a_run_writes_the_weights_that_it_validated(tmp_path: Path) -> None:
    prepared, job = blobs(20, 40), a_job()
    before = job.network.dense.weight.detach().clone()
    train(job, prepared, 0, tmp_path)
    lines = lines_of(tmp_path)
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    probabilities = predict(job.network, prepared.images[:4], 32)
    right = (probabilities.argmax(1) == prepared.labels[:4]).mean()
    assert lines[-1]["val_accuracy"] == pytest.approx(right)
    assert not torch.equal(job.network.dense.weight, before)
    saved = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert all(torch.equal(value, saved[key]) for key, value in job.network.state_dict().items())


@pytest.mark.parametrize(
    ("function", "calls"),
    [("_loss", 4), ("_loss", 5), ("_publish", 2)],  # two steps an epoch: all are of the third
)
def test_a_run_that_was_cut_off_goes_on_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, calls: int
) -> None:
    prepared, whole = blobs(20, 40), a_job()
    train(whole, prepared, 0, tmp_path / "whole")

    class CutOffError(Exception):
        pass

    left = iter(range(calls))
    uncut = getattr(training, function)

    def cut_off(*arguments: object) -> object:
        if next(left, None) is None:
            raise CutOffError
        return uncut(*arguments)

    monkeypatch.setattr(training, function, cut_off)
    with pytest.raises(CutOffError):
        train(a_job(), prepared, 0, tmp_path / "cut")
    monkeypatch.undo()
    assert len(lines_of(tmp_path / "cut")) == 2
    other = a_job()
    other.rate = 2e-4
    with pytest.raises(SystemExit, match=r"cut.*rate was 0\.0001, is 0\.0002.*remove"):
        train(other, prepared, 0, tmp_path / "cut")
    again = a_job()
    train(again, prepared, 0, tmp_path / "cut")
    assert lines_of(tmp_path / "cut") == lines_of(tmp_path / "whole")
    expected = whole.network.state_dict()
    assert all(
        torch.equal(value, expected[key]) for key, value in again.network.state_dict().items()
    )
    assert sorted(file.name for file in (tmp_path / "cut").iterdir()) == [
        "history.jsonl",
        "weights.pt",
    ]
