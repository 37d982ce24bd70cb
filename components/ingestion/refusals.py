"""Why an input is refused, in words for the person who gave it."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import Enum

from components.ingestion.names import printable


class Reason(str, Enum):
    """One kind of unusable input; the value is its name in reports and metrics."""

    MISSING_FILE = "missing_file"
    EMPTY_FILE = "empty_file"
    UNREADABLE = "unreadable"
    UNREADABLE_FOLDER = "unreadable_folder"
    TOO_LARGE_FILE = "too_large_file"
    SPECIAL_FILE = "special_file"
    PATH_TRAVERSAL = "path_traversal"
    SYMLINK_OUTSIDE = "symlink_outside"
    SYMLINKED_FOLDER = "symlinked_folder"
    NOT_AN_IMAGE = "not_an_image"
    DAMAGED_IMAGE = "damaged_image"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_SMALL = "too_small"
    TOO_FEW_GREY_LEVELS = "too_few_grey_levels"
    COLOUR_PICTURE = "colour_picture"
    UNSUPPORTED_PIXELS = "unsupported_pixels"
    MULTI_FRAME = "multi_frame"
    DICOM_WITHOUT_PIXELS = "dicom_without_pixels"
    DICOM_UNSUPPORTED = "dicom_unsupported"
    DAMAGED_DICOM = "damaged_dicom"
    DAMAGED_ARCHIVE = "damaged_archive"
    ENCRYPTED_ARCHIVE = "encrypted_archive"
    ARCHIVE_BOMB = "archive_bomb"
    NESTED_ARCHIVE = "nested_archive"
    BAD_SIDECAR = "bad_sidecar"
    NO_LABEL = "no_label"
    UNKNOWN_LABEL = "unknown_label"
    CONFLICTING_LABELS = "conflicting_labels"
    EXACT_COPY = "exact_copy"

    @property
    def bad(self) -> bool:
        """Whether it counts towards `max_bad_fraction`: copies and dropped classes do not."""
        return self not in (Reason.EXACT_COPY, Reason.UNKNOWN_LABEL)


@dataclass(frozen=True)
class Refusal:
    """One refused input.

    Attributes:
        path: relative to the data root, made printable.
        reason: a value of `Reason`.
        detail: what exactly, and what to do about it.
        digest: SHA-256 of the file's bytes, empty where they were not read.
    """

    path: str
    reason: str
    detail: str
    digest: str = ""

    def to_dict(self) -> dict[str, str]:
        return asdict(self)


class RefusedError(Exception):
    """Raised by readers: this one input cannot be used, the others can."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)  # both, so that it survives pickling
        self.reason = reason
        self.detail = detail

    def to_refusal(self, name: str, digest: str = "") -> Refusal:
        return Refusal(printable(name), self.reason.value, printable(self.detail), digest)


def listing(refusals: Iterable[Refusal], limit: int = 50) -> str:
    """Returns `refusals` as indented lines, at most `limit` of them and a count of the rest."""
    lines: list[str] = []
    more = 0
    for refusal in refusals:
        if len(lines) < limit:
            lines.append(f"  {refusal.path}: {refusal.reason} ({refusal.detail})")
        else:
            more += 1
    if more:
        lines.append(f"  ... and {more} more")
    return "\n".join(lines)
