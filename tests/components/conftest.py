"""Small images that are enough like X-rays to be ingested, and folders of them."""

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from models.features import CLASSES

Draw = Callable[..., np.ndarray]


@pytest.fixture(scope="session")
def xray() -> Draw:
    """A function (seed, height, width) to uint8 [H, W]: smooth shapes under a little noise."""

    def draw(seed: int = 0, height: int = 64, width: int = 80) -> np.ndarray:
        rng = np.random.default_rng(seed)
        coarse = rng.uniform(0, 255, (8, 8)).astype(np.float32)
        image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        image += rng.normal(0, 4, image.shape)
        return np.clip(image, 0, 255).astype(np.uint8)

    return draw


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """A function (array or Pillow image, format, options) to the bytes of a file."""

    def encoded(image: np.ndarray | Image.Image, name: str = "PNG", **options: object) -> bytes:
        picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
        buffer = io.BytesIO()
        picture.save(buffer, format=name, **options)
        return buffer.getvalue()

    return encoded


@pytest.fixture
def class_folders(
    tmp_path: Path, xray: Draw, encode: Callable[..., bytes]
) -> Callable[[int], Path]:
    """A function (images per class) to a data root with a folder for each class."""

    def write(images: int) -> Path:
        root = tmp_path / "data"
        for label, name in enumerate(CLASSES):
            (root / name).mkdir(parents=True)
            for index in range(images):
                picture = encode(xray(1000 * label + index), "JPEG", quality=90)
                (root / name / f"{index:03d}.jpeg").write_bytes(picture)
        return root

    return write
