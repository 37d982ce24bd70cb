"""The tf.Example of an ingested image (keys: `models.features`)."""

import tensorflow as tf

from components.ingestion.reading import Image
from models import features


def to_example(image: Image) -> tf.train.Example:
    """Returns the raw tf.Example of `image`, with every feature present (but an unknown label)."""
    height, width = image.radiograph.pixels.shape
    texts = {
        features.FILENAME: image.name,
        features.PATIENT: image.patient,
        features.SOURCE: image.source,
        features.SIZE_BUCKET: features.size_bucket(height, width),
        features.DIGEST: image.radiograph.digest,
    }
    values = {key: _bytes(text.encode()) for key, text in texts.items()}
    values[features.IMAGE] = _bytes(image.radiograph.encoded)
    if image.label is not None:
        values[features.LABEL] = _int(image.label)
    values[features.HEIGHT] = _int(height)
    values[features.WIDTH] = _int(width)
    return tf.train.Example(features=tf.train.Features(feature=values))


def text(example: tf.train.Example, key: str) -> str:
    """Returns the single value of bytes feature `key` as text."""
    return example.features.feature[key].bytes_list.value[0].decode()


def label(example: tf.train.Example) -> int:
    """Returns the class index."""
    return example.features.feature[features.LABEL].int64_list.value[0]


def _bytes(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _int(value: int) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
