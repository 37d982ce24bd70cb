"""SavedModel to TFLite, with TFLite's builtin ops only, and our metadata inside the file."""

from collections.abc import Iterator
from pathlib import Path

import flatbuffers
import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from components.edge_exporter.settings import Variant
from edge.metadata import EMBEDDED_NAME, IMAGE_INPUT

# All but the matrix products and the largest-of pooling. Before the first product and after
# the last, 256 levels are too coarse (see `head`). Between, the sums of CORONet's residual
# blocks and their leaky rectifiers lose most of what int8 loses, and cost next to nothing in
# float; the average pooling, whose input is float then, would round to its input's levels,
# although its output is narrower.
_FLOAT_OPS = [
    *("ADD", "LEAKY_RELU", "AVERAGE_POOL_2D"),
    *("CAST", "MUL", "DIV", "SUB", "EXP", "LOG", "LOGISTIC", "SOFTMAX", "LOG_SOFTMAX"),
    *("REDUCE_MAX", "SUM", "MEAN", "MAXIMUM", "MINIMUM"),
]


def convert(saved_model: Path, variant: Variant, calibration: np.ndarray) -> bytes:
    """Converts a SavedModel whose one input is a uint8 image.

    Args:
        saved_model: its folder.
        variant: see `EdgeSettings`.
        calibration: uint8 [N, h, w, 1]; images that set int8's ranges, otherwise unused.

    Returns:
        The TFLite file.
    """
    if variant == "int8":
        return _convert_int8(saved_model, calibration)
    converter = _converter(saved_model)
    if variant != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if variant == "float16":
        converter.target_spec.supported_types = [tf.float16]
    converted: bytes = converter.convert()
    return converted


def embed(model: bytes, text: str) -> bytes:
    """Returns the TFLite file `model` with `text` in its metadata table, as `EMBEDDED_NAME`."""
    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model))
    content = schema.BufferT()
    content.data = np.frombuffer(text.encode(), np.uint8)
    tree.buffers.append(content)
    entry = schema.MetadataT()
    entry.name = EMBEDDED_NAME
    entry.buffer = len(tree.buffers) - 1
    tree.metadata = [*(tree.metadata or []), entry]
    builder = flatbuffers.Builder(len(model) + len(text) + 1024)
    builder.Finish(tree.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _converter(saved_model: Path) -> tf.lite.TFLiteConverter:
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
    # No select ops: they would need TensorFlow on the device.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return converter


def _convert_int8(saved_model: Path, calibration: np.ndarray) -> bytes:
    def images() -> Iterator[dict[str, np.ndarray]]:
        for image in calibration:
            yield {IMAGE_INPUT: image[np.newaxis]}

    converter = _converter(saved_model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = images
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
        tf.lite.OpsSet.TFLITE_BUILTINS,
    ]
    # The debugger is TensorFlow's way to quantize all but some ops.
    selective = tf.lite.experimental.QuantizationDebugger(
        converter=converter,
        debug_dataset=images,
        debug_options=tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=_FLOAT_OPS),
    )
    converted: bytes = selective.get_nondebug_quantized_model()
    return converted
