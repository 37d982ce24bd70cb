"""Does the edge build answer as the SavedModel does, and know what it does not know?

    python benchmarks/edge_fidelity.py BUNDLE FOLDER_OF_X_RAYS

Over every image of the folder: the largest difference of a preprocessed pixel from the
training graph's, the share of equal labels, the largest difference of a probability, and
the share that counts as familiar. Then the share of pictures that are no X-rays (phantoms,
photos, noise, blank frames) that is noticed.
"""

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from edge import Classifier
from models.preprocessing import ResolvedPreprocessing, preprocess_encoded
from pipeline.sample import draw_phantoms

TARGET_AGREEMENT = 0.98
PHOTO_CROPS = 50
FRAMES = 25


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--saved-model", type=Path, help="default: saved_model/ of the bundle")
    options = parser.parse_args()
    classifier = Classifier(options.bundle, threads=2)
    saved_model = options.saved_model or options.bundle / "saved_model"
    _against_saved_model(classifier, saved_model, sorted(options.images.iterdir()))
    _against_other_pictures(classifier)


def _against_saved_model(classifier: Classifier, saved_model: Path, files: list[Path]) -> None:
    signature = tf.saved_model.load(str(saved_model)).signatures["serving_default"]
    resolved = ResolvedPreprocessing.from_dict(classifier.metadata.preprocessing)
    pixels = labels = familiar = 0
    furthest = 0.0
    for file in files:
        encoded = tf.constant([file.read_bytes()])
        served = signature(encoded)["probabilities"].numpy()[0]
        expected = preprocess_encoded(encoded, resolved).numpy()[0, ..., 0]
        found = classifier.predict(file)
        difference = np.abs(found.model_image.astype(int) - expected.astype(int))
        pixels = max(pixels, int(difference.max()))
        labels += found.label == classifier.classes[int(served.argmax())]
        familiar += found.familiar
        probabilities = np.array(list(found.probabilities.values()))
        furthest = max(furthest, float(np.abs(probabilities - served).max()))
    agreement = labels / len(files)
    verdict = "met" if agreement >= TARGET_AGREEMENT else "MISSED"
    print(f"images                               {len(files)}")
    print(f"largest difference of a pixel        {pixels}")
    print(f"same label as the SavedModel         {agreement:.4f}", end="  ")
    print(f"target {TARGET_AGREEMENT}  {verdict}")
    print(f"largest difference of a probability  {furthest:.3f}")
    print(f"familiar                             {familiar / len(files):.3f}")


def _against_other_pictures(classifier: Classifier) -> None:
    kinds = {
        "phantoms": (one.pixels for one in draw_phantoms(50, seed=11)),
        "photos, colour": (_png(crop) for crop in _photos()),
        "photos, grey": (_png(crop.convert("L")) for crop in _photos()),
        "noise": _noise(),
        "blank frames": (np.full((300, 300), 10 * step, np.uint8) for step in range(FRAMES)),
    }
    for name, pictures in kinds.items():
        noticed = [not classifier.predict(picture).familiar for picture in pictures]
        print(f"noticed, {name:<28}{np.mean(noticed):.3f}  of {len(noticed)}")


def _photos() -> Iterator[Image.Image]:
    """Crops of scikit-learn's two sample photos (a temple, a flower)."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    for photo in load_sample_images().images:
        for _ in range(PHOTO_CROPS):
            side = int(rng.integers(150, min(photo.shape[:2])))
            top = int(rng.integers(0, photo.shape[0] - side))
            left = int(rng.integers(0, photo.shape[1] - side))
            yield Image.fromarray(photo[top : top + side, left : left + side])


def _noise() -> Iterator[np.ndarray]:
    rng = np.random.default_rng(1)
    for _ in range(FRAMES):
        yield rng.integers(0, 256, (300, 300), np.uint8)
        yield np.clip(rng.normal(128, rng.uniform(5, 60), (300, 300)), 0, 255).astype(np.uint8)


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


if __name__ == "__main__":
    main()
