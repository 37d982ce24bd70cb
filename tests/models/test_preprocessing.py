"""Target sizes after the paper's section II, and one graph for every path."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf

from models.preprocessing import (
    ResolvedPreprocessing,
    SizeStatistics,
    preprocess,
    preprocess_encoded,
    resolve,
    target_size,
    to_unit,
)
from models.settings import PreprocessingSettings

STATISTICS = SizeStatistics(
    min_height=127, max_height=2713, mean_height=970.5, min_width=384, max_width=2916,
    mean_width=1327.9,
)  # fmt: skip
SIZES = {
    ("A", "max"): (2916, 2916),
    ("B", "max"): (2713, 2916),
    ("C", "max"): (2713, 2916),
    ("D", "max"): (2916, 2916),
    ("A", "min"): (127, 127),
    ("B", "min"): (127, 384),
    ("C", "min"): (127, 384),
    ("D", "min"): (127, 127),
    ("A", "preset"): (200, 200),
    ("B", "preset"): (146, 200),  # 200 * 970.5 / 1327.9 = 146.17
    ("C", "preset"): (146, 200),
    ("D", "preset"): (200, 200),
}


@pytest.mark.parametrize(("choice", "expected"), SIZES.items())
def test_target_sizes(choice, expected):
    method, threshold = choice
    settings = PreprocessingSettings(method=method, threshold=threshold)
    assert target_size(settings, STATISTICS) == expected
    # As Transform gives them: numbers that only the graph knows.
    tensors = SizeStatistics(
        **{
            name: tf.constant(value, tf.float32 if name.startswith("mean") else tf.int64)
            for name, value in vars(STATISTICS).items()
        }
    )
    assert tuple(int(side) for side in target_size(settings, tensors)) == expected


def test_a_resolved_preprocessing_survives_json():
    resolved = resolve(
        PreprocessingSettings(method="C", tile_grid=(4, 6), clip_limit=3.5), (154, 200)
    )
    assert (resolved.height, resolved.width) == (154, 200)
    assert ResolvedPreprocessing.from_dict(json.loads(json.dumps(resolved.to_dict()))) == resolved
    with pytest.raises(TypeError, match="unknown"):
        ResolvedPreprocessing.from_dict({**resolved.to_dict(), "unknown": 1})


@pytest.mark.parametrize("equalise", [True, False])
def test_encoded_images_of_many_sizes_equal_the_batched_graph(equalise):
    resolved = ResolvedPreprocessing("A", 64, 48, clahe=equalise)
    generator = np.random.default_rng(3)
    images = [
        generator.integers(0, 256, shape, dtype=np.uint8)
        for shape in [(90, 120), (33, 40), (64, 48)]
    ]
    encoded = [cv2.imencode(".png", image)[1].tobytes() for image in images]
    together = preprocess_encoded(tf.constant(encoded), resolved)
    assert together.shape == (3, 64, 48, 1)
    for image, result in zip(images, together, strict=True):
        alone = preprocess(tf.constant(image[None, ..., None]), resolved)
        np.testing.assert_array_equal(result, alone[0])


def test_opencv_does_the_same_to_a_radiograph(cxr4: Path):
    resolved = ResolvedPreprocessing("B", 150, 200)
    paths = sorted((cxr4 / "train").glob("*.jpeg"))[::80]
    large = [
        path for path in paths if np.all(np.array(cv2.imread(str(path), 0).shape) > (150, 200))
    ]
    assert len(large) > 5
    results = preprocess_encoded(tf.constant([path.read_bytes() for path in large]), resolved)
    for path, result in zip(large, results, strict=True):
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        resized = cv2.resize(image, (200, 150), interpolation=cv2.INTER_AREA)
        expected = cv2.createCLAHE(2.0, (8, 8)).apply(resized)
        np.testing.assert_array_equal(result[..., 0], expected, err_msg=path.name)


def test_to_unit():
    values = to_unit(tf.constant([0, 51, 255], tf.uint8))
    assert values.dtype == tf.float32
    np.testing.assert_array_equal(values, np.float32([0, 0.2, 1]))


CONVERT = """
import sys, tensorflow as tf
from models.preprocessing import ResolvedPreprocessing, preprocess

class Graph(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([1, None, None, 1], tf.uint8)])
    def run(self, images):
        return preprocess(images, ResolvedPreprocessing("A", 200, 200), "one_hot")

graph = Graph()
folder = sys.argv[1]
tf.saved_model.save(graph, folder, signatures=graph.run)
converter = tf.lite.TFLiteConverter.from_saved_model(folder)
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
open(folder + "/preprocess.tflite", "wb").write(converter.convert())
"""


def test_tensorflow_lite_runs_the_same_graph_with_builtins_only(tmp_path: Path):
    # The converter aborts the process where it fails.
    command = [sys.executable, "-c", CONVERT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    from ai_edge_litert.interpreter import Interpreter

    lite = Interpreter(model_path=str(tmp_path / "preprocess.tflite"))
    source, target = lite.get_input_details()[0], lite.get_output_details()[0]
    resolved = ResolvedPreprocessing("A", 200, 200)
    generator = np.random.default_rng(5)
    for shape in [(300, 217), (200, 200), (90, 411), (1, 1), (500, 3)]:
        image = generator.integers(0, 256, (1, *shape, 1), dtype=np.uint8)
        lite.resize_tensor_input(source["index"], image.shape)
        lite.allocate_tensors()
        lite.set_tensor(source["index"], image)
        lite.invoke()
        np.testing.assert_array_equal(
            lite.get_tensor(target["index"]), preprocess(tf.constant(image), resolved)
        )
