"""Transformed examples in, batches out; each batch is a pure function of seed and step.

The order of the images, their augmentation and their mixup are drawn anew from (seed,
step), not from a generator that moves on. So training can begin at any step and see what
an uninterrupted run would have seen there.

Images are decoded once, into an unnamed scratch file, and read from there batch by batch:
the operating system keeps as much of it in memory as it has to spare, and no process holds
a split. The scratch file is where `TMPDIR` says.
"""

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from models.augmentation import augment, mixup
from models.errors import InputError
from models.features import CLASSES, IMAGE_XF, LABEL
from models.preprocessing import to_unit
from models.settings import AugmentationSettings, TrainingSettings

EVALUATION_BATCH = 64

# Streams of randomness, so that no two draws of one step share a seed.
_ORDER, _AUGMENTATION, _MIXUP = range(3)


@dataclass(frozen=True)
class Split:
    """One split, decoded.

    Attributes:
        images: uint8 [N, H, W, 1]; from `load_split` it is a view of a file, not memory.
        labels: int64 [N], indices into `CLASSES`.
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the images in pixels."""
        height, width = self.images.shape[1:3]
        return int(height), int(width)

    @property
    def class_counts(self) -> list[int]:
        """Images of each class, in the order of `CLASSES`."""
        return np.bincount(self.labels, minlength=len(CLASSES)).tolist()

    def digest(self) -> str:
        """SHA-256 of pixels and labels, hexadecimal."""
        digest = hashlib.sha256(repr(self.images.shape).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()


def load_split(patterns: Sequence[str], name: str) -> Split:
    """Reads transformed examples (see `models.transform`).

    The images are put into an order of their own content's, because Beam's workers may
    write the same examples in another order.

    Args:
        patterns: globs of gzipped TFRecord files, on any filesystem that TensorFlow knows.
        name: of the split, for messages.

    Raises:
        InputError: there is no example, or the images differ in size.
    """
    files = sorted(file for pattern in patterns for file in tf.io.gfile.glob(pattern))
    keys = [
        (hashlib.sha256(encoded).digest(), int(label))
        for encoded, label in _records(files).as_numpy_iterator()
    ]
    if not keys:
        raise InputError(f"the {name} split is empty: add labelled images, or change data.splits")
    order = sorted(range(len(keys)), key=keys.__getitem__)
    images = _decoded(files, np.argsort(order), name)
    return Split(images, np.array([keys[number][1] for number in order], np.int64))


def _records(files: Sequence[str]) -> tf.data.Dataset:
    """The encoded images and labels of `files`, in the order of the files."""
    spec = {
        IMAGE_XF: tf.io.FixedLenFeature([], tf.string),
        LABEL: tf.io.FixedLenFeature([], tf.int64),
    }

    def parsed(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        example = tf.io.parse_single_example(record, spec)
        return example[IMAGE_XF], example[LABEL]

    records = tf.data.TFRecordDataset(list(files), compression_type="GZIP")
    return records.map(parsed, num_parallel_calls=tf.data.AUTOTUNE)


def _decoded(files: Sequence[str], places: np.ndarray, name: str) -> np.ndarray:
    """Writes the pixels of each record to its place in a scratch file; returns a view of it."""
    decoded = _records(files).map(
        lambda encoded, _: tf.io.decode_png(encoded, channels=1),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    sizes: set[tuple[int, int]] = set()
    with tempfile.TemporaryFile(prefix="coronet-") as scratch:
        # Written, not mapped: a full disk is then an error, not the end of the process.
        for place, image in zip(places, decoded.prefetch(2).as_numpy_iterator(), strict=True):
            sizes.add(image.shape[:2])
            scratch.seek(int(place) * image.nbytes)
            scratch.write(image.data)
        scratch.flush()
        if len(sizes) > 1:
            raise InputError(
                f"the {name} split has images of {len(sizes)} sizes: {sorted(sizes)[:4]}"
            )
        # The map outlives the file's name and its descriptor.
        return np.memmap(scratch, np.uint8, mode="r", shape=(len(places), *sizes.pop(), 1))


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Returns the number of batches of at most `batch_size` that hold `images` images."""
    return -(-images // batch_size)


def training_batches(
    split: Split,
    training: TrainingSettings,
    augmentation: AugmentationSettings,
    seed: int,
    first_epoch: int = 0,
) -> tf.data.Dataset:
    """Returns all batches from `first_epoch` to the last epoch, without a break.

    Every epoch sees each image once, in an order of its own. The batches of an epoch are
    of equal size, give or take one image: a short last batch would give batch
    normalisation poor statistics.

    Yields:
        images: float32 [b, H, W, 1] in [0, 1], augmented.
        labels: float32 [b, classes], rows summing to 1: one-hot, smoothed, mixed.
        weights: float32 [b], 1 unless classes are weighed.
    """
    count = len(split)
    steps = steps_per_epoch(count, training.batch_size)
    # On the CPU: batches are made there while an accelerator computes.
    with tf.device("CPU:0"):
        labels = tf.constant(split.labels)
    class_weights = tf.constant(balanced_weights(split.class_counts), tf.float32)

    def batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        epoch, slot = step // steps, step % steps
        begin, end = slot * count // steps, (slot + 1) * count // steps
        chosen = tf.random.experimental.index_shuffle(
            tf.range(begin, end), seed=_step_seed(seed, _ORDER, epoch), max_index=count - 1
        )
        pixels = to_unit(_read(split, chosen))
        if augmentation.enabled:
            pixels = augment(pixels, augmentation, _step_seed(seed, _AUGMENTATION, step))
        targets = _smoothed(tf.gather(labels, chosen), training.label_smoothing)
        if training.mixup_alpha:
            pixels, targets = mixup(
                pixels, targets, training.mixup_alpha, _step_seed(seed, _MIXUP, step)
            )
        if training.class_weights:
            weights = tf.linalg.matvec(targets, class_weights)
        else:
            weights = tf.ones([end - begin])
        return pixels, targets, weights

    return (
        tf.data.Dataset.range(first_epoch * steps, training.epochs * steps)
        .map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def evaluation_batches(split: Split, batch_size: int = EVALUATION_BATCH) -> tf.data.Dataset:
    """Returns the split in its order, as batches of images [b, H, W, 1] and one-hot labels."""
    with tf.device("CPU:0"):
        labels = tf.one_hot(split.labels, len(CLASSES))

    def batch(begin: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        chosen = tf.range(begin, tf.minimum(begin + batch_size, len(split)))
        return to_unit(_read(split, chosen)), tf.gather(labels, chosen)

    starts = tf.data.Dataset.range(0, len(split), batch_size)
    return starts.map(batch, num_parallel_calls=2, deterministic=True).prefetch(2)


def _read(split: Split, numbers: tf.Tensor) -> tf.Tensor:
    """Reads the images of these numbers, [b, H, W, 1] of their own type, within a graph."""
    pixels = tf.numpy_function(
        lambda chosen: np.asarray(split.images[chosen]),
        [numbers],
        tf.as_dtype(split.images.dtype),
        # The same numbers give the same images, so calls may run in parallel.
        stateful=False,
    )
    return tf.ensure_shape(pixels, [None, *split.size, 1])


def balanced_weights(class_counts: Sequence[int]) -> list[float]:
    """Weighs each class by the inverse of its share: N / (classes * its images).

    A class without images has weight 0.
    """
    total, classes = sum(class_counts), len(class_counts)
    return [total / (classes * count) if count else 0.0 for count in class_counts]


def _smoothed(labels: tf.Tensor, smoothing: float) -> tf.Tensor:
    return tf.one_hot(labels, len(CLASSES)) * (1 - smoothing) + smoothing / len(CLASSES)


def _step_seed(seed: int, stream: int, step: tf.Tensor) -> tf.Tensor:
    return tf.random.fold_in(tf.constant([seed, stream], tf.int64), step)
