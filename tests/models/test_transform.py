"""The Transform function under Beam, as TFX runs it."""

import functools
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

from models import features
from models.preprocessing import preprocess_encoded, resolve
from models.settings import PreprocessingSettings
from models.transform import preprocess_to_png, preprocessing_fn

SHAPES = [(61, 40), (50, 73), (48, 48), (90, 55)]
STRINGS = (features.IMAGE, features.SOURCE, features.SIZE_BUCKET)
RAW_KEYS = (*STRINGS, features.LABEL, features.HEIGHT, features.WIDTH)


def raw_examples() -> list[dict]:
    generator = np.random.default_rng(11)
    return [
        {
            features.IMAGE: cv2.imencode(".png", generator.integers(0, 256, shape, dtype=np.uint8))[
                1
            ].tobytes(),
            features.LABEL: label,
            features.SOURCE: b"clinic",
            features.SIZE_BUCKET: features.SIZE_BUCKETS[0].encode(),
            features.HEIGHT: shape[0],
            features.WIDTH: shape[1],
        }
        for label, shape in enumerate(SHAPES)
    ]


@pytest.mark.parametrize(
    ("method", "threshold", "size"), [("C", "max", (90, 73)), ("D", "min", (40, 40))]
)
def test_sizes_come_from_a_full_pass_and_pixels_equal_serving(
    tmp_path: Path, method, threshold, size
):
    settings = PreprocessingSettings(method=method, threshold=threshold)
    examples = raw_examples()
    specification = {
        key: tf.io.FixedLenFeature([1], tf.string if key in STRINGS else tf.int64)
        for key in RAW_KEYS
    }
    metadata = dataset_metadata.DatasetMetadata(
        schema_utils.schema_from_feature_spec(specification)
    )
    function = functools.partial(
        preprocessing_fn, custom_config={"preprocessing": settings.model_dump_json()}
    )
    rows = [{key: [value] for key, value in example.items()} for example in examples]
    with tft_beam.Context(temp_dir=str(tmp_path / "work")):
        (transformed, _), transform_fn = (rows, metadata) | tft_beam.AnalyzeAndTransformDataset(
            function
        )
        transform_fn | tft_beam.WriteTransformFn(str(tmp_path / "graph"))

    resolved = resolve(settings, size)
    expected = preprocess_encoded(
        tf.constant([example[features.IMAGE] for example in examples]), resolved
    )
    assert len(transformed) == len(examples)
    for row in transformed:
        label = int(row[features.LABEL][0])
        image = tf.io.decode_png(row[features.IMAGE_XF][0])
        np.testing.assert_array_equal(image, expected[label])
        assert row[features.SOURCE][0] == b"clinic"
        assert row[features.SIZE_BUCKET][0] == features.SIZE_BUCKETS[0].encode()

    output = tft.TFTransformOutput(str(tmp_path / "graph")).transformed_feature_spec()
    assert set(output) == {
        features.IMAGE_XF, features.LABEL, features.SOURCE, features.SIZE_BUCKET
    }  # fmt: skip


def test_real_radiographs_take_little_space(cxr4: Path):
    contents = [path.read_bytes() for path in sorted((cxr4 / "train").glob("*.jpeg"))[::40]]
    assert len(contents) > 20
    encoded = preprocess_to_png(tf.constant(contents), PreprocessingSettings(), (200, 200))
    assert sum(map(len, encoded.numpy())) <= 1.3 * 200 * 200 * len(contents)
