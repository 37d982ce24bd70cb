"""`coronet predict`: many images, one line each as it is ready, one bad file stops nothing."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from edge import overlay, saliency
from edge.classifier import Classifier, Prediction
from edge.errors import EdgeError

DONE: Final = 0
SOME_FAILED: Final = 1
NOTHING_TO_DO: Final = 2

_UNFAMILIAR: Final = "not like the training X-rays: do not trust this"
_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".dcm", ".dicom")


@dataclass(frozen=True)
class Outcome:
    """What became of one file: a prediction, or why there is none.

    With both, the image was classified but its overlay could not be written.
    """

    path: Path
    prediction: Prediction | None = None
    error: str = ""
    overlay: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns one line of `--json`: path, and label and so on, or error, or both."""
        if self.prediction is None:
            return {"path": str(self.path), "error": self.error}
        line: dict[str, Any] = {
            "path": str(self.path),
            "label": self.prediction.label,
            "probabilities": self.prediction.probabilities,
            "scores": self.prediction.scores,
            "unfamiliarity": self.prediction.unfamiliarity,
            "familiar": self.prediction.familiar,
        }
        if self.overlay is not None:
            line["overlay"] = str(self.overlay)
        if self.error:
            line["error"] = self.error
        return line


def expand(paths: Sequence[Path]) -> Iterator[Path]:
    """Yields the files, and in place of each folder the images inside it, sorted."""
    for path in paths:
        if os.path.isdir(path):  # a path that cannot be looked at is none; reading it says why
            yield from sorted(
                file
                for file in path.rglob("*")
                if file.suffix.lower() in _SUFFIXES and not file.is_dir()
            )
        else:
            yield path


def outcomes(
    classifier: Classifier, paths: Sequence[Path], explain: Path | None = None
) -> Iterator[Outcome]:
    """Predicts each file as it is asked for; a file that cannot be read gives its error.

    Args:
        classifier: the model.
        paths: files and folders.
        explain: folder to write an occlusion overlay a file to, as PNG; None writes none.
    """
    taken: set[Path] = set()
    for path in expand(paths):
        try:
            prediction = classifier.predict(path)
        except EdgeError as error:
            yield Outcome(path, error=str(error))
            continue
        if explain is None:
            yield Outcome(path, prediction)
            continue
        lost = saliency.occlusion(classifier, prediction.model_image, prediction.label)
        written = _overlay_name(explain, path, taken)
        try:
            picture = overlay.draw(prediction.model_image, lost)
            said = _caption(prediction, float(lost.max()), classifier.metadata.disclaimer)
            overlay.caption(picture, said).save(written)
        except OSError as error:
            reason = error.strerror or error
            yield Outcome(path, prediction, error=f"{path}: cannot write {written}: {reason}")
        else:
            yield Outcome(path, prediction, overlay=written)


def predict(
    bundle: Path,
    images: Sequence[Path],
    as_json: bool = False,
    explain: Path | None = None,
    threads: int = 1,
) -> int:
    """Predicts `images` and prints each answer as soon as it is there.

    Returns:
        Exit status: `DONE`, `SOME_FAILED` if a file could not be read or an overlay not be
        written, `NOTHING_TO_DO` if there was no image.

    Raises:
        EdgeError: `bundle` holds no usable model, or `explain` cannot be made.
    """
    classifier = Classifier(bundle, threads)
    if explain is not None:
        try:
            explain.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EdgeError(f"cannot make the folder {explain}: {error.strerror}") from error
    try:
        return _report(classifier, outcomes(classifier, images, explain), as_json)
    except BrokenPipeError:
        # Whoever reads the lines, such as `head`, has enough. Python writes what it still
        # holds when it ends, which would fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def _report(classifier: Classifier, answers: Iterator[Outcome], as_json: bool) -> int:
    """Prints each of `answers` as it comes; returns the exit status."""
    seen = failed = 0
    if not as_json:
        _say(_heading(classifier), sys.stdout)
    for outcome in answers:
        seen += 1
        failed += bool(outcome.error)
        if as_json:
            _say(json.dumps(outcome.to_dict()), sys.stdout)
            continue
        if outcome.prediction is not None:
            _say(_row(outcome.path, outcome.prediction, classifier.classes), sys.stdout)
        if outcome.error:
            _say(f"coronet: {outcome.error}", sys.stderr)
    _say(classifier.metadata.disclaimer, sys.stderr if as_json else sys.stdout)
    if not seen:
        _say("coronet: no image to predict: name image files, or folders of them", sys.stderr)
        return NOTHING_TO_DO
    return SOME_FAILED if failed else DONE


def _overlay_name(folder: Path, image: Path, taken: set[Path]) -> Path:
    """A name for the overlay of `image` that no other has: folders may share file names."""
    name, number = folder / f"{image.stem}.saliency.png", 2
    while name in taken:
        name, number = folder / f"{image.stem}-{number}.saliency.png", number + 1
    taken.add(name)
    return name


def _caption(prediction: Prediction, most: float, disclaimer: str) -> list[str]:
    """What a picture says that may be seen without its prediction; `most` is what was lost."""
    label = prediction.label
    return [
        f"{label} {prediction.probabilities[label]:.3f}",
        *([] if prediction.familiar else [_UNFAMILIAR]),
        f"Red: covering it makes {label} less probable, by up to {most:.3f}"
        if most > 0
        else f"Whatever is covered, {label} stays as probable",
        disclaimer,
    ]


def _heading(classifier: Classifier) -> str:
    return "  ".join(
        [f"{'label':<10}", *(f"{name:>9}" for name in classifier.classes), "unfamiliar", "image"]
    )


def _row(path: Path, prediction: Prediction, classes: Sequence[str]) -> str:
    name = str(path)
    if not prediction.familiar:
        name += f"  [{_UNFAMILIAR}]"
    cells = [f"{prediction.label:<10}"]
    cells += [f"{prediction.probabilities[each]:>9.3f}" for each in classes]
    return "  ".join([*cells, f"{prediction.unfamiliarity:>10.2f}", name])


def _say(line: str, stream: TextIO) -> None:
    """Prints a line at once, with "?" for what `stream` cannot show.

    Names of files may hold control characters, which a terminal must not obey, and letters
    that its encoding lacks.
    """
    shown = "".join(sign if sign.isprintable() else "?" for sign in line)
    encoding = stream.encoding or "utf-8"
    print(shown.encode(encoding, "replace").decode(encoding), file=stream, flush=True)
