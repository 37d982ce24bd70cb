"""From references to decoded images, or to the reasons why not."""

import contextlib
import hashlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from components.ingestion import archives, readers, sidecars, storage
from components.ingestion.discovery import folder_label, is_candidate, member_reference
from components.ingestion.labels import LabelMap
from components.ingestion.names import printable
from components.ingestion.patients import patient_in_name
from components.ingestion.references import EVERY_MEMBER, Reference
from components.ingestion.refusals import Reason, Refusal, RefusedError
from components.ingestion.settings import DataSettings
from components.ingestion.splits import order_key, patient_hash

UNLABELLED = "unlabelled"
Content = bytes | RefusedError
"""What reading a file gave: its bytes, or why not."""


@dataclass(frozen=True)
class Image:
    """One usable image.

    Attributes:
        name: printable, relative to the data root.
        radiograph: its pixels and their canonical encoding.
        label: index into `CLASSES`, or None where labels were not asked for.
        patient: salted hash, empty if unknown.
        source: `unknown` if not given.
    """

    name: str
    radiograph: readers.Radiograph
    label: int | None
    patient: str
    source: str


@dataclass(frozen=True)
class Reading:
    """Reads references below `root`.

    Attributes:
        kind: the plan's kind, or `UNLABELLED` for images that need no label.
    """

    root: str
    kind: str
    settings: DataSettings

    def read(
        self, references: Iterable[Reference], zips: archives.LastZip | None = None
    ) -> Iterator[Image | Refusal]:
        """Yields an image or a refusal for each reference (several for a tar archive).

        Give the same `zips` to several calls that may read from the same archive.

        Images of one archive come together, archives after plain files; within these, the
        order is that of `order_key`, and for tar archives that of the archive.
        """
        labels = LabelMap(self.settings.class_aliases, folders=self.kind == "folder")
        unique: list[Reference] = []
        for item in _once_per_name(references, labels):
            if isinstance(item, Refusal):
                yield item
            else:
                unique.append(item)
        ordered = sorted(unique, key=lambda one: (_archive(one), order_key(one.name)))
        with contextlib.nullcontext(zips) if zips is not None else archives.LastZip() as opened:
            for archive, members in itertools.groupby(ordered, key=_archive):
                found = list(members)
                if not archive:
                    items = self._plain(found)
                elif archives.is_zip(archive):
                    items = self._zip(archive, found, opened)
                else:
                    items = self._tar(archive, found)
                for reference, content in items:
                    yield self._image(reference, content, labels)

    def _plain(self, references: list[Reference]) -> Iterator[tuple[Reference, Content]]:
        for reference in references:
            try:
                with storage.open_binary(reference.container, self.root) as file:
                    content: Content = storage.read_bounded(file, self.settings.max_file_bytes)
            except RefusedError as refused:
                content = refused
            yield reference, content

    def _zip(
        self, archive: str, references: list[Reference], zips: archives.LastZip
    ) -> Iterator[tuple[Reference, Content]]:
        try:
            members = zips.open(archive, self.root)
        except RefusedError as refused:
            for reference in references:
                yield reference, refused
            return
        for reference in references:
            try:
                content: Content = members.read(reference.member, self.settings.max_file_bytes)
            except RefusedError as refused:
                content = refused
            yield reference, content

    def _tar(
        self, archive: str, references: list[Reference]
    ) -> Iterator[tuple[Reference, Content]]:
        whole = references[0] if references[0].member == EVERY_MEMBER else None
        left = {reference.member: reference for reference in references if whole is None}

        seen: set[str] = set()

        def wanted(member: str) -> bool:
            return is_candidate(member) if whole is not None else _plain_name(member) in left

        try:
            for member, content in archives.read_tar(
                archive, self.root, self.settings.max_file_bytes, wanted
            ):
                if whole is None:
                    yield left.pop(_plain_name(member)), content
                    continue
                reference = member_reference(whole, member)
                if isinstance(reference, Refusal):
                    named = replace(whole, name=f"{whole.name}/{member}")
                    yield named, RefusedError(Reason(reference.reason), reference.detail)
                    continue
                if reference.name in seen:
                    twice = RefusedError(Reason.EXACT_COPY, "the same name before in the archive")
                    yield reference, twice
                    continue
                seen.add(reference.name)
                if self.kind == "folder":
                    reference = replace(reference, label=folder_label(reference.name))
                yield reference, content
        except RefusedError as refused:
            for reference in left.values() if whole is None else [whole]:
                yield reference, refused
            return
        for reference in left.values():
            yield reference, RefusedError(Reason.MISSING_FILE, "no such file in the archive")

    def _image(self, reference: Reference, content: Content, labels: LabelMap) -> Image | Refusal:
        if isinstance(content, RefusedError):
            return content.to_refusal(reference.name)
        try:
            if self.kind == "sidecar":
                reference = sidecars.describe(reference, self.root, self.settings)
            radiograph = readers.read(content, self.settings)
            text = radiograph.label if self.kind == "dicom" else reference.label
            return Image(
                name=printable(reference.name),
                radiograph=radiograph,
                label=None if self.kind == UNLABELLED else _label(text, labels),
                patient=patient_hash(
                    self._patient(reference, radiograph), self.settings.split_salt
                ),
                source=printable(reference.source) or "unknown",
            )
        except RefusedError as refused:
            return refused.to_refusal(reference.name, hashlib.sha256(content).hexdigest())

    def _patient(self, reference: Reference, radiograph: readers.Radiograph) -> str:
        if reference.patient or radiograph.patient or not self.settings.patient_pattern:
            return reference.patient or radiograph.patient
        return patient_in_name(reference.name, self.settings.patient_pattern)


def _once_per_name(
    references: Iterable[Reference], labels: LabelMap
) -> Iterator[Reference | Refusal]:
    """Yields each name once: a table may list an image twice, even as two classes."""
    by_name: dict[str, list[Reference]] = {}
    for reference in references:
        by_name.setdefault(reference.name, []).append(reference)
    for same in by_name.values():
        said = sorted({reference.label for reference in same})
        if len({labels.index(label) for label in said}) > 1:
            conflict = RefusedError(Reason.CONFLICTING_LABELS, f"listed as {', '.join(said)}")
            yield conflict.to_refusal(same[0].name)
            continue
        yield same[0]
        for again in same[1:]:
            yield RefusedError(Reason.EXACT_COPY, "listed twice").to_refusal(again.name)


def _label(text: str, labels: LabelMap) -> int:
    if not text:
        raise RefusedError(Reason.NO_LABEL, "nothing says what it shows")
    index = labels.index(text)
    if index is None:
        raise RefusedError(Reason.UNKNOWN_LABEL, text)
    return index


def _archive(reference: Reference) -> str:
    return reference.container if reference.member else ""


def _plain_name(member: str) -> str:
    return member[2:] if member.startswith("./") else member
