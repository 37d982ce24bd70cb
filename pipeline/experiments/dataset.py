"""A labelled data folder in memory, read by the same code as ingestion."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from components.ingestion.copies import Batch, find_copies, name_copies, place
from components.ingestion.discovery import discover, make_plan
from components.ingestion.duplicates import Member, Resolution, resolve
from components.ingestion.judgement import judge_inputs
from components.ingestion.labels import require_every_class
from components.ingestion.perceptual_hash import perceptual_hash
from components.ingestion.preflight import preflight
from components.ingestion.reading import Image, Reading
from components.ingestion.references import Reference
from components.ingestion.refusals import Refusal
from components.ingestion.settings import DataSettings
from components.ingestion.splits import split_key
from models.features import CLASSES


@dataclass(frozen=True)
class LabelledImages:
    """Every usable image of a data folder, in the order of their names.

    Attributes:
        names: relative to the data root.
        encoded: contents of image files, as `models.preprocessing.preprocess_encoded` takes.
        labels: int64 [N], indices into `CLASSES`.
        keys: what ingestion decides an image's split by (`components.ingestion.splits`).
        groups: what must stay on one side of a split: the image's key, or the smallest of those
            that copies link it with.
        heights, widths: int64 [N], pixels.
        digest: of names, labels, groups and pixels, hexadecimal.
    """

    names: tuple[str, ...]
    encoded: tuple[bytes, ...]
    labels: np.ndarray
    keys: tuple[str, ...]
    groups: tuple[str, ...]
    heights: np.ndarray
    widths: np.ndarray
    digest: str

    def __len__(self) -> int:
        return len(self.names)


def read_labelled_images(data_root: str, settings: DataSettings) -> LabelledImages:
    """Reads the folder `data_root`, and resolves copies as a run of the pipeline does.

    Raises:
        InputError: what `components.ingestion.preflight` finds, a class without usable
            images, or refused inputs that `components.ingestion.judgement` does not let pass.
    """
    preflight(data_root, settings)
    plan = make_plan(data_root, settings)
    refusals: list[Refusal] = []
    references: list[Reference] = []
    for item in discover(data_root, plan, settings):
        (refusals if isinstance(item, Refusal) else references).append(item)  # type: ignore[arg-type]
    images: list[Image] = []
    for read in Reading(data_root, plan.kind, settings).read(references):
        if isinstance(read, Refusal):
            refusals.append(read)
        elif read.label is not None:  # always, of a plan with labels
            images.append(read)
    resolution = _resolve_copies(images, settings)
    refusals += resolution.refused
    left_out = {refusal.path for refusal in resolution.refused}
    kept = sorted((one for one in images if one.name not in left_out), key=lambda one: one.name)
    judge_inputs(data_root, refusals, len(kept), settings)
    require_every_class(Counter(CLASSES[_label(image)] for image in kept), data_root)
    return _collect(kept, resolution.same_split)


def _resolve_copies(images: Sequence[Image], settings: DataSettings) -> Resolution:
    batch = Batch(
        shard=0,
        first=0,
        digests=b"".join(bytes.fromhex(image.radiograph.digest) for image in images),
        hashes=b"".join(perceptual_hash(image.radiograph.pixels) for image in images),
    )
    members = {
        place(0, row): Member(image.name, _key(image), _label(image))
        for row, image in enumerate(images)
    }
    copies = name_copies(find_copies(batch, settings.near_duplicate_bits), members)
    return resolve(copies, lambda key: None, settings.deduplicate)


def _key(image: Image) -> str:
    return split_key(image.patient, image.radiograph.digest)


def _label(image: Image) -> int:
    assert image.label is not None  # of a plan with labels
    return image.label


def _collect(images: Sequence[Image], same_split: Mapping[str, str]) -> LabelledImages:
    labels = [_label(image) for image in images]
    keys = tuple(_key(image) for image in images)
    groups = tuple(same_split.get(key, key) for key in keys)
    shapes = np.array([image.radiograph.pixels.shape for image in images], np.int64)
    digest = hashlib.sha256()
    for image, label, group in zip(images, labels, groups, strict=True):
        for part in (image.name, str(label), group, image.radiograph.digest):
            digest.update(f"{len(part)}:{part}".encode("utf-8", "surrogateescape"))
    return LabelledImages(
        names=tuple(image.name for image in images),
        encoded=tuple(image.radiograph.encoded for image in images),
        labels=np.array(labels, np.int64),
        keys=keys,
        groups=groups,
        heights=shapes[:, 0],
        widths=shapes[:, 1],
        digest=digest.hexdigest(),
    )
