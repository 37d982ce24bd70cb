"""What TFX Transform runs: the preprocessing graph, sized by all training images."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from models import features
from models.clahe import clahe
from models.decoding import decode, encode
from models.preprocessing import SizeStatistics, target_size
from models.resizing import resize
from models.settings import PreprocessingSettings
from models.shapes import Length

_KEPT = (features.LABEL, features.SOURCE, features.SIZE_BUCKET)


def preprocessing_fn(
    inputs: Mapping[str, tf.Tensor], custom_config: Mapping[str, Any]
) -> dict[str, tf.Tensor]:
    """Preprocesses the raw features, for `tfx.components.Transform`.

    The image leaves as PNG: a tenth of its size as floats, and of a size that only the
    analysis of the training split decides.

    Args:
        inputs: raw features of `models.features`, [B, 1] each; `image` in the canonical
            encoding that ingestion has checked.
        custom_config: "preprocessing": JSON of `models.settings.PreprocessingSettings`.

    Returns:
        `image_xf` (string, PNG of uint8 [H, W, 1]), and `label` (int64), `source` and
        `size_bucket` (string) as they came; [B, 1] each.
    """
    settings = PreprocessingSettings.model_validate_json(custom_config["preprocessing"])
    height, width = inputs[features.HEIGHT], inputs[features.WIDTH]
    statistics = SizeStatistics(
        min_height=tft.min(height),
        max_height=tft.max(height),
        mean_height=tft.mean(height),
        min_width=tft.min(width),
        max_width=tft.max(width),
        mean_width=tft.mean(width),
    )
    size = target_size(settings, statistics)

    encoded = preprocess_to_png(tf.reshape(inputs[features.IMAGE], [-1]), settings, size)
    return {
        features.IMAGE_XF: tf.reshape(encoded, [-1, 1]),
        **{key: inputs[key] for key in _KEPT},
    }


def preprocess_to_png(
    encoded: tf.Tensor, settings: PreprocessingSettings, size: tuple[Length, Length]
) -> tf.Tensor:
    """Decodes, resizes, equalises and encodes images of any sizes.

    Image by image: the working memory is that of a few images, however large the batch, and
    TensorFlow runs several of them at a time.

    Args:
        encoded: string [B], contents of image files.
        settings: method and CLAHE.
        size: (height, width) to resize to; may be known only when the graph runs.

    Returns:
        string [B], PNG of uint8 [height, width, 1].
    """

    def preprocessed(content: tf.Tensor) -> tf.Tensor:
        image = resize(tf.expand_dims(decode(content), 0), settings.method, size)
        if settings.clahe:
            image = clahe(image, settings.clip_limit, settings.tile_grid)
        return encode(tf.squeeze(image, 0))

    return tf.map_fn(preprocessed, encoded, fn_output_signature=tf.TensorSpec([], tf.string))
