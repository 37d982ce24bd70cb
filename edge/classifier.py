"""`Classifier`: from an image file to class probabilities with LiteRT alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from edge import metadata as edge_metadata
from edge.errors import EdgeError
from edge.images import COLOUR_LIMIT, Source, read_image
from edge.metadata import (
    DISTANCE_OUTPUT,
    IMAGE_INPUT,
    MODEL_FILE,
    MODEL_IMAGE_OUTPUT,
    PREPROCESS_FILE,
    PROBABILITIES_OUTPUT,
    SCORES_OUTPUT,
    Metadata,
)

MAX_THREADS: Final = 1024
"""LiteRT does not return, or crashes, when it is asked for tens of thousands."""


@dataclass(frozen=True)
class Prediction:
    """What the model says about one image.

    Attributes:
        label: the most probable class.
        probabilities: per class, in [0, 1]; they sum to 1.
        scores: per class: margins (SVM) or log-probabilities.
        unfamiliarity: how unlike the training images this one is; 1 is the limit.
        model_image: uint8 [h, w], the preprocessed image as the classifier sees it.
    """

    label: str
    probabilities: dict[str, float]
    scores: dict[str, float]
    unfamiliarity: float
    model_image: np.ndarray

    @property
    def familiar(self) -> bool:
        """Whether the image looks like the training images; if not, do not trust `label`."""
        return self.unfamiliarity <= 1


class Classifier:
    """A classifier in a folder, ready to predict. Not safe to share between threads."""

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        """Loads the model.

        Args:
            path: a bundle (the push/ folder of a run), or a folder with `edge.json`.
            threads: CPU threads of one prediction.

        Raises:
            EdgeError: there is no usable model at `path`, or `threads` is out of range.
        """
        if not 1 <= threads <= MAX_THREADS:
            raise EdgeError(f"threads must be from 1 to {MAX_THREADS}, received {threads}")
        self.folder = edge_metadata.find_folder(path)
        self.metadata: Metadata = edge_metadata.read(self.folder)
        files = [
            edge_metadata.check_file(self.folder, name, self.metadata)
            for name in (PREPROCESS_FILE, MODEL_FILE)
        ]
        for file in files:
            edge_metadata.check_embedded(file, self.metadata)
        self._preprocess, self._model = (_Signature(file, threads) for file in files)
        self._model.require((1, self.metadata.height, self.metadata.width, 1))

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the model's outputs."""
        return self.metadata.classes

    def predict(self, image: Source) -> Prediction:
        """Classifies one image.

        Args:
            image: path of a JPEG, PNG, BMP, GIF or DICOM file; or its bytes; or decoded
                pixels, uint8 [H, W].

        Raises:
            EdgeError: the image cannot be read, is empty, or is too large.
        """
        picture = read_image(image)
        model_image, distance = self.preprocess(picture.pixels)
        probabilities, scores = self.classify(model_image)
        best = int(probabilities.argmax())
        return Prediction(
            label=self.classes[best],
            probabilities=self._by_class(probabilities),
            scores=self._by_class(scores),
            unfamiliarity=max(
                distance / self.metadata.distance_limit, picture.colourfulness / COLOUR_LIMIT
            ),
            model_image=model_image,
        )

    def preprocess(self, pixels: np.ndarray) -> tuple[np.ndarray, float]:
        """Resizes and equalises `pixels` (uint8 [H, W]) as for training.

        Returns:
            The image as the classifier sees it, uint8 [h, w], and its distance from the
            training images.
        """
        outputs = self._preprocess(pixels[np.newaxis, :, :, np.newaxis])
        return outputs[MODEL_IMAGE_OUTPUT][0, :, :, 0], float(outputs[DISTANCE_OUTPUT][0])

    def classify(self, model_image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Classifies a preprocessed image, uint8 [h, w].

        Returns:
            Probabilities and scores, each float32 [classes].
        """
        outputs = self._model(model_image[np.newaxis, :, :, np.newaxis])
        return outputs[PROBABILITIES_OUTPUT][0], outputs[SCORES_OUTPUT][0]

    def _by_class(self, values: np.ndarray) -> dict[str, float]:
        return dict(zip(self.classes, values.tolist(), strict=True))


class _Signature:
    """The one signature of a TFLite file, called with a uint8 image."""

    def __init__(self, path: Path, threads: int) -> None:
        self._path = path
        try:
            self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
            self._signature: Any = self._interpreter.get_signature_runner()
            self._input = self._signature.get_input_details()[IMAGE_INPUT]
        except (ValueError, RuntimeError, KeyError) as error:
            raise EdgeError(f"LiteRT cannot run {path}: {error}; export it again") from error
        if self._input["dtype"] is not np.uint8:
            raise EdgeError(
                f"{path} takes {self._input['dtype'].__name__} images, not uint8: export it again"
            )

    def require(self, shape: tuple[int, ...]) -> None:
        """Raises `EdgeError` unless the input has `shape`."""
        found = tuple(int(size) for size in self._input["shape"])
        if found != shape:
            raise EdgeError(
                f"{self._path} takes images of {found}, edge.json says {shape}: export it again"
            )

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        try:
            outputs: dict[str, np.ndarray] = self._signature(**{IMAGE_INPUT: image})
        except (ValueError, RuntimeError) as error:
            raise EdgeError(f"LiteRT failed on {self._path}: {error}") from error
        return outputs
