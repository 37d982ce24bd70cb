"""A labelled data folder in memory, read by the same code as ingestion."""

import hashlib
from collections import Counter
from dataclasses import dataclass

import numpy as np

from components.ingestion.discovery import discover, make_plan
from components.ingestion.labels import require_every_class
from components.ingestion.preflight import preflight
from components.ingestion.reading import Image, Reading
from components.ingestion.references import Reference
from components.ingestion.refusals import Reason, Refusal, listing
from components.ingestion.settings import DataSettings
from models.errors import InputError
from models.features import CLASSES


@dataclass(frozen=True)
class LabelledImages:
    """Every usable image of a data folder, in the order of their names.

    Attributes:
        names: relative to the data root.
        encoded: contents of image files, as `models.preprocessing.preprocess_encoded` takes.
        labels: int64 [N], indices into `CLASSES`.
        groups: what must stay on one side of a split: the patient, or the pixels' digest
            where no patient is known.
        heights, widths: int64 [N], pixels.
        digest: of names, labels, groups and pixels, hexadecimal.
    """

    names: tuple[str, ...]
    encoded: tuple[bytes, ...]
    labels: np.ndarray
    groups: tuple[str, ...]
    heights: np.ndarray
    widths: np.ndarray
    digest: str

    def __len__(self) -> int:
        return len(self.names)


def read_labelled_images(data_root: str, settings: DataSettings) -> LabelledImages:
    """Reads the folder `data_root`; exact copies of an image are left out.

    Near copies are not searched for, unlike in a run of the pipeline: they are kept
    together only where the patient is known.

    Raises:
        InputError: what `components.ingestion.preflight` finds, a class without usable
            images, or more refused images than `settings.max_bad_fraction` allows.
    """
    preflight(data_root, settings)
    plan = make_plan(data_root, settings)
    refusals: list[Refusal] = []
    references: list[Reference] = []
    for item in discover(data_root, plan, settings):
        (refusals if isinstance(item, Refusal) else references).append(item)  # type: ignore[arg-type]
    images: dict[str, tuple[Image, int]] = {}
    for read in Reading(data_root, plan.kind, settings).read(references):
        if isinstance(read, Refusal):
            refusals.append(read)
        elif read.label is not None:  # always, of a plan with labels
            images.setdefault(read.radiograph.digest, (read, read.label))
    _limit_refusals(refusals, len(images), settings)
    ordered = sorted(images.values(), key=lambda found: found[0].name)
    require_every_class(Counter(CLASSES[label] for _, label in ordered), data_root)
    return _collect(ordered)


def _limit_refusals(refusals: list[Refusal], usable: int, settings: DataSettings) -> None:
    bad = [refusal for refusal in refusals if Reason(refusal.reason).bad]
    if len(bad) > settings.max_bad_fraction * (usable + len(bad)):
        raise InputError(
            f"{len(bad)} of {usable + len(bad)} images cannot be used, more than "
            f"data.max_bad_fraction={settings.max_bad_fraction} allows:\n{listing(bad)}"
        )


def _collect(found: list[tuple[Image, int]]) -> LabelledImages:
    images = [image for image, _ in found]
    labels = [label for _, label in found]
    groups = tuple(image.patient or image.radiograph.digest for image in images)
    shapes = np.array([image.radiograph.pixels.shape for image in images], np.int64)
    digest = hashlib.sha256()
    for image, label, group in zip(images, labels, groups, strict=True):
        for part in (image.name, str(label), group, image.radiograph.digest):
            digest.update(f"{len(part)}:{part}".encode("utf-8", "surrogateescape"))
    return LabelledImages(
        names=tuple(image.name for image in images),
        encoded=tuple(image.radiograph.encoded for image in images),
        labels=np.array(labels, np.int64),
        groups=groups,
        heights=shapes[:, 0],
        widths=shapes[:, 1],
        digest=digest.hexdigest(),
    )
