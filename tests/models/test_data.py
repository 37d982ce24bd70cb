"""The input pipeline: whole epochs, balanced batches, the same batch for the same step."""

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from models.data import (
    Split,
    balanced_weights,
    evaluation_batches,
    load_split,
    training_batches,
)
from models.errors import InputError
from models.features import IMAGE_XF, LABEL
from models.settings import AugmentationSettings, TrainingSettings

PLAIN = AugmentationSettings(enabled=False)


def _split(count: int = 70) -> Split:
    """Images that carry their number in every pixel."""
    images = np.broadcast_to(np.arange(count).reshape(-1, 1, 1, 1), (count, 6, 5, 1))
    return Split(images.astype(np.uint8), np.arange(count) % 4)


def _write(path: Path, split: Split, order: np.ndarray) -> str:
    with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions(compression_type="GZIP")) as file:
        for number in order:
            encoded = tf.io.encode_png(split.images[number]).numpy()
            feature = {
                IMAGE_XF: tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded])),
                LABEL: tf.train.Feature(
                    int64_list=tf.train.Int64List(value=[split.labels[number]])
                ),
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            file.write(example.SerializeToString())
    return str(path)


def _numbers(batches: tf.data.Dataset) -> list[list[int]]:
    return [
        np.rint(images[:, 0, 0, 0].numpy() * 255).astype(int).tolist() for images, *_ in batches
    ]


def test_records_come_back_in_an_order_of_their_own(tmp_path: Path) -> None:
    split, rng = _split(), np.random.default_rng(0)
    shuffled = _write(tmp_path / "a", split, rng.permutation(70))
    again = [
        _write(tmp_path / "b-0", split, np.arange(30)),
        _write(tmp_path / "b-1", split, np.arange(30, 70)),
    ]
    first, second = load_split([shuffled], "train"), load_split(again[::-1], "train")
    assert first.digest() == second.digest()
    assert sorted(first.images[:, 0, 0, 0]) == list(range(70))
    np.testing.assert_array_equal(first.images[:, 0, 0, 0] % 4, first.labels)
    assert first.size == (6, 5)
    assert first.class_counts == [18, 18, 17, 17]


def test_an_empty_split_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="eval split is empty"):
        load_split([str(tmp_path / "*")], "eval")


def test_images_of_several_sizes_are_refused(tmp_path: Path) -> None:
    one = _write(tmp_path / "one", _split(2), np.arange(2))
    other = Split(np.zeros((1, 9, 9, 1), np.uint8), np.zeros(1, np.int64))
    with pytest.raises(InputError, match="2 sizes"):
        load_split([one, _write(tmp_path / "other", other, np.arange(1))], "train")


def _anonymous_bytes() -> int:
    """Memory of this process that is not a file's."""
    (line,) = (
        line for line in Path("/proc/self/status").read_text().splitlines() if "RssAnon" in line
    )
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_a_split_is_not_held_in_memory(tmp_path: Path) -> None:
    side = 1024

    def grown_by_reading(count: int) -> int:
        image = np.zeros((1, side, side, 1), np.uint8)
        large = Split(np.broadcast_to(image, (count, side, side, 1)), np.arange(count) % 4)
        pattern = _write(tmp_path / f"{count}", large, np.arange(count))
        before = _anonymous_bytes()
        split = load_split([pattern], "train")
        seen = sum(len(images) for images, _ in evaluation_batches(split, batch_size=1))
        assert seen == len(split) == count
        return _anonymous_bytes() - before

    grown_by_reading(20)  # fills the buffers, whose size no number of images changes
    # Busy cores leave more in the buffers: 54 MiB were seen.
    assert grown_by_reading(400) < 400 * side**2 / 4


def test_every_epoch_has_each_image_once_in_even_batches() -> None:
    training = TrainingSettings(epochs=3, batch_size=16)
    batches = _numbers(training_batches(_split(), training, PLAIN, seed=1))
    assert [len(batch) for batch in batches] == [14] * 15  # 70 images, 5 steps, 3 epochs
    epochs = [list(chain(*batches[start : start + 5])) for start in (0, 5, 10)]
    assert all(sorted(epoch) == list(range(70)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != list(range(70))


def test_a_later_start_sees_what_an_uninterrupted_run_sees() -> None:
    training = TrainingSettings(epochs=3, batch_size=16, mixup_alpha=0.4, label_smoothing=0.1)
    whole = list(training_batches(_split(), training, AugmentationSettings(), seed=1))
    resumed = list(
        training_batches(_split(), training, AugmentationSettings(), seed=1, first_epoch=2)
    )
    assert len(resumed) == 5
    for expected, found in zip(whole[10:], resumed, strict=True):
        for one, other in zip(expected, found, strict=True):
            np.testing.assert_array_equal(one, other)


def test_another_seed_gives_another_order() -> None:
    training = TrainingSettings(epochs=1, batch_size=16)
    orders = [_numbers(training_batches(_split(), training, PLAIN, seed)) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_labels_weights_and_range() -> None:
    split = Split(np.full((8, 4, 4, 1), 255, np.uint8), np.array([0, 0, 0, 0, 0, 1, 1, 3]))
    training = TrainingSettings(epochs=1, batch_size=8, label_smoothing=0.2, class_weights=True)
    ((images, labels, weights),) = training_batches(split, training, PLAIN, seed=0)
    assert images.dtype == tf.float32
    assert set(images.numpy().ravel()) == {1.0}
    np.testing.assert_allclose(sorted(labels.numpy()[:, 0]), [0.05] * 3 + [0.85] * 5)
    by_class = np.array([8 / 20, 8 / 8, 0, 8 / 4])
    np.testing.assert_allclose(weights, labels.numpy() @ by_class, rtol=1e-6)


def test_balanced_weights_give_each_class_the_same_say() -> None:
    counts = [350, 350, 350, 77]
    weights = np.array(balanced_weights(counts))
    np.testing.assert_allclose(weights * counts, sum(counts) / 4)


def test_evaluation_is_plain_and_in_order() -> None:
    batches = list(evaluation_batches(_split(), batch_size=32))
    assert list(chain(*_numbers(batches))) == list(range(70))
    labels = np.concatenate([labels for _, labels in batches])
    np.testing.assert_array_equal(labels, np.eye(4)[np.arange(70) % 4])


def test_images_of_another_type_are_read_too() -> None:
    images = np.linspace(-300, 300, 30, dtype=np.float32).reshape(5, 1, 6, 1)
    split = Split(images, np.zeros(5, np.int64))
    (evaluated,) = (images for images, _ in evaluation_batches(split))
    training = TrainingSettings(epochs=1, batch_size=5)
    ((trained, _, _),) = training_batches(split, training, PLAIN, seed=1)
    np.testing.assert_allclose(evaluated, images / 255, rtol=1e-6)
    np.testing.assert_allclose(np.sort(trained, axis=None), images.ravel() / 255, rtol=1e-6)
