"""What can be said against a data folder before the pipeline starts, in a second or two."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from posixpath import basename

from components.ingestion.discovery import discover, make_plan
from components.ingestion.judgement import require_whole
from components.ingestion.labels import LabelMap, require_every_class, require_known
from components.ingestion.names import printable
from components.ingestion.patients import patient_in_name
from components.ingestion.references import EVERY_MEMBER, Reference
from components.ingestion.refusals import Refusal, listing
from components.ingestion.settings import DataSettings
from models.errors import InputError
from models.features import CLASSES


@dataclass(frozen=True)
class Preflight:
    """What a data folder promises; reading the images may still refuse some.

    Attributes:
        kind: where labels come from (`DataSettings.label_source` without `auto`).
        images: how many are named; a tar archive that was not read counts as one.
        per_class: images of each class, where the labels can be known without reading.
        notes: what a person should know.
    """

    kind: str
    images: int
    per_class: dict[str, int]
    notes: tuple[str, ...]


def preflight(data_root: str, settings: DataSettings) -> Preflight:
    """Finds what is wrong with `data_root` as a whole; opens tables, but no image.

    Raises:
        InputError: no such folder, nothing in it, a broken table, unknown labels (with
            counts), a lost archive or folder, or a class without images.
    """
    plan = make_plan(data_root, settings)
    labels = LabelMap(settings.class_aliases, folders=plan.kind == "folder")
    counts: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    refusals: list[Refusal] = []
    patients = _PatientNames(settings.patient_pattern)
    images = 0
    # Labels inside DICOM files, sidecars and tar archives are known after reading only.
    labels_known = plan.kind in ("folder", "csv", "jsonl")
    for item in discover(data_root, plan, settings):
        images += 1
        if isinstance(item, Refusal):
            refusals.append(item)
            continue
        patients.look_at(item)
        if item.member == EVERY_MEMBER:
            labels_known = False
        elif labels_known:
            _count(item, labels, counts, unknown)
    if images == 0:
        raise InputError(
            f"no images in {printable(data_root)}: expected a folder for each class "
            f"({', '.join(CLASSES)}), or a CSV with the columns {settings.filename_column}"
            f",{settings.label_column} beside a folder of images"
        )
    if len(refusals) == images:
        raise InputError(f"nothing in {printable(data_root)} can be read:\n{listing(refusals)}")
    require_whole(data_root, refusals, settings)
    if labels_known:
        require_known(unknown, settings)
        require_every_class(counts, data_root)
    return Preflight(
        kind=plan.kind,
        images=images,
        per_class={name: counts[name] for name in CLASSES},
        notes=(*plan.notes, *patients.notes()),
    )


class _PatientNames:
    """Looks for a pattern that finds no patient: nothing else would tell of the mistake."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._example = ""
        self._found = False

    def look_at(self, reference: Reference) -> None:
        if not self._pattern or reference.patient or reference.member == EVERY_MEMBER:
            return
        self._example = self._example or reference.name
        self._found = self._found or bool(patient_in_name(reference.name, self._pattern))

    def notes(self) -> Iterator[str]:
        if self._example and not self._found:
            yield (
                f"data.patient_pattern = {self._pattern!r} finds no patient in any file name, such "
                f"as {printable(basename(self._example))!r}: images of one patient may be split up"
            )


def _count(
    reference: Reference, labels: LabelMap, counts: Counter[str], unknown: Counter[str]
) -> None:
    index = labels.index(reference.label)
    if index is not None:
        counts[CLASSES[index]] += 1
    elif reference.label:
        unknown[reference.label] += 1
