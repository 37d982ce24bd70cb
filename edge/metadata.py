"""What an edge build says about itself: `edge.json`, repeated inside each TFLite file.

The exporter writes both, the runtime and the page read them. This module is the format.
"""

import hashlib
import json
import math
import mmap
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from edge.errors import EdgeError

FORMAT_VERSION: Final = 1
FILE_NAME: Final = "edge.json"
PREPROCESS_FILE: Final = "preprocess.tflite"
MODEL_FILE: Final = "model.tflite"
EMBEDDED_NAME: Final = "coronet"
"""Name of the entry in a TFLite file's own metadata table that holds `embedded_json`."""

# Tensor names in the signatures of the two files.
IMAGE_INPUT: Final = "image"  # uint8 [1, H, W, 1]: any H and W in preprocess, fixed in model
MODEL_IMAGE_OUTPUT: Final = "model_image"  # uint8 [1, h, w, 1], what the classifier sees
DISTANCE_OUTPUT: Final = "distance"  # float32 [1], how far from the training images
PROBABILITIES_OUTPUT: Final = "probabilities"  # float32 [1, classes], sums to 1
SCORES_OUTPUT: Final = "scores"  # float32 [1, classes]: margins or log-probabilities


@dataclass(frozen=True)
class Metadata:
    """The content of `edge.json`.

    Attributes:
        classes: class names; a probability's position is its class.
        model: the classifier's name: svm, mlp or coronet.
        model_version: digest of the trained classifier that was converted.
        data_digest: digest of the preprocessed training images and their labels.
        variant: of `model.tflite`: int8, dynamic, float16 or float32.
        height, width: of the image as the classifier sees it, in pixels.
        normalisation: how pixels become the classifier's numbers, in words; the graph does it.
        preprocessing: method, size and CLAHE, as the training graph used them.
        flip_at_test: whether the graph averages over the image and its mirror image.
        files: SHA-256 of each TFLite file, by file name.
        distance_limit: `distance` above which an image counts as unfamiliar.
        familiar_share: share of held-out images below that limit when it was set.
        agreement: per variant, the share of held-out images whose most probable class is
            the float classifier's.
        disclaimer: to be shown wherever a person reads a prediction.
        format_version: of this file.
    """

    classes: tuple[str, ...]
    model: str
    model_version: str
    data_digest: str
    variant: str
    height: int
    width: int
    normalisation: str
    preprocessing: dict[str, Any]
    flip_at_test: bool
    files: dict[str, str]
    distance_limit: float
    familiar_share: float
    agreement: dict[str, float]
    disclaimer: str
    format_version: int = FORMAT_VERSION

    def to_json(self) -> str:
        """Returns the text of `edge.json`."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @property
    def embedded_json(self) -> str:
        """What each TFLite file carries: all but the digests, which depend on the files."""
        kept = asdict(self)
        del kept["files"], kept["agreement"]
        return json.dumps(kept, sort_keys=True)


def find_folder(path: str | Path) -> Path:
    """Returns the folder with `edge.json`: `path` itself, or `edge/` of the bundle at `path`.

    Raises:
        EdgeError: there is none.
    """
    path = Path(path)
    for folder in (path, path / "edge"):
        if (folder / FILE_NAME).is_file():
            return folder
    if not path.exists():
        raise EdgeError(f"{path} does not exist: give a bundle (the push/ folder of a run)")
    if (path / "bundle.json").is_file():
        raise EdgeError(
            f"the bundle {path} has no edge build: its quantized model did not pass its gate"
        )
    raise EdgeError(
        f"{path} holds no {FILE_NAME}: give a bundle (the push/ folder of a run) or its edge/ "
        "folder"
    )


def read(folder: Path) -> Metadata:
    """Reads and checks `edge.json` in `folder`.

    Raises:
        EdgeError: it is not JSON, is of another format version, or is incomplete.
    """
    path = folder / FILE_NAME
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EdgeError(f"cannot read {path}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise EdgeError(f"{path} is damaged: {error}; export the model again") from error
    return parse(loaded, str(path))


def parse(loaded: Any, origin: str) -> Metadata:
    """Returns `loaded` (from JSON) as `Metadata`; `origin` names it in errors.

    Raises:
        EdgeError: of another format version, or incomplete.
    """
    version = loaded.get("format_version") if isinstance(loaded, dict) else None
    if version != FORMAT_VERSION:
        raise EdgeError(
            f"{origin} has format version {version!r}, this runtime reads {FORMAT_VERSION}: "
            "install the runtime that came with the model, or export the model again"
        )
    known = {field.name: field.type for field in fields(Metadata)}
    missing = sorted(known.keys() - loaded.keys())
    if missing:
        raise EdgeError(f"{origin} lacks {', '.join(missing)}: export the model again")
    values = {name: loaded[name] for name in known}
    _check_types(values, origin)
    values["classes"] = tuple(values["classes"])
    return Metadata(**values)


def _check_types(values: dict[str, Any], origin: str) -> None:
    expected: dict[str, type | tuple[type, ...]] = {
        "classes": list,
        "files": dict,
        "height": int,
        "width": int,
        "distance_limit": (int, float),
        "disclaimer": str,
    }
    for name, kind in expected.items():
        if not isinstance(values[name], kind):
            raise EdgeError(f"{origin}: {name} is {values[name]!r}: export the model again")
    if not values["classes"] or min(values["height"], values["width"]) < 1:
        raise EdgeError(f"{origin} describes no classes or no pixels: export the model again")
    if not all(isinstance(name, str) for name in values["classes"]):
        raise EdgeError(f"{origin}: classes is {values['classes']!r}: export the model again")
    if not 0 < values["distance_limit"] < math.inf:
        raise EdgeError(
            f"{origin}: distance_limit is {values['distance_limit']!r}: export the model again"
        )


def check_file(folder: Path, name: str, metadata: Metadata) -> Path:
    """Returns the path of the TFLite file `name`, once its digest is the one in `edge.json`.

    LiteRT can crash on a file that was cut short, so nothing unchecked reaches it.

    Raises:
        EdgeError: the file is missing, is not a TFLite file, or is not the one described.
    """
    path = folder / name
    if name not in metadata.files:
        raise EdgeError(f"{folder / FILE_NAME} lists no {name}: export the model again")
    try:
        with path.open("rb") as file:
            identifier = file.read(8)[4:]
            file.seek(0)
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise EdgeError(f"cannot read {path}: {error}") from error
    if identifier != b"TFL3":
        raise EdgeError(f"{path} is not a TFLite file: copy the edge/ folder again")
    if digest.hexdigest() != metadata.files[name]:
        raise EdgeError(
            f"{path} is not the file that {FILE_NAME} describes (cut short, changed, or of "
            "another model): copy the edge/ folder again"
        )
    return path


def check_embedded(path: Path, metadata: Metadata) -> None:
    """Checks that the TFLite file at `path` does not contradict `metadata`.

    Digests tie the files to `edge.json`; this ties it to them: a changed order of the
    classes would give every answer the wrong name. The variant may differ, since a float
    model may stand in for the int8 one.

    Raises:
        EdgeError: the file says something else of itself or nothing, or is damaged.
    """
    embedded = read_embedded(path)
    for name, value in json.loads(metadata.embedded_json).items():
        if name != "variant" and embedded.get(name) != value:
            raise EdgeError(
                f"{path.with_name(FILE_NAME)} is not what {path.name} says of itself ({name} is "
                f"{value!r}, not {embedded.get(name)!r}): copy the edge/ folder again"
            )


def read_embedded(path: Path) -> dict[str, Any]:
    """Returns the metadata that the TFLite file at `path` carries itself.

    Raises:
        EdgeError: it cannot be read, is damaged, or carries none of ours.
    """
    from ai_edge_litert import schema_py_generated as schema

    try:
        with path.open("rb") as file:  # mapped: of many megabytes, a few hundred bytes count
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        model = schema.Model.GetRootAs(content)
        for index in range(model.MetadataLength()):
            entry = model.Metadata(index)
            if entry.Name() == EMBEDDED_NAME.encode():
                embedded: dict[str, Any] = json.loads(
                    model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
                )
                return embedded
    except Exception as error:  # a damaged table may raise anything
        raise EdgeError(f"{path} is damaged ({error}): copy the edge/ folder again") from error
    raise EdgeError(
        f"{path} does not say what it is (no exporter wrote it): export the model again"
    )
