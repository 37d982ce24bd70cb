"""One image somewhere: in a file of its own, or inside an archive."""

from dataclasses import dataclass

EVERY_MEMBER = "*"
"""As `Reference.member`: all of an archive that can only be read from front to back."""


@dataclass(frozen=True)
class Reference:
    """Where an image is and what is said about it.

    Attributes:
        name: unique in the data set, relative to the data root; `archive.zip/member.png`
            for members of archives.
        container: path to open.
        member: name inside the archive at `container`; empty for a plain file.
        label: as the data set says it; empty where the image itself has to say.
        patient: as the data set says it; empty if unknown.
        source: where the image comes from; empty if unknown.
    """

    name: str
    container: str
    member: str = ""
    label: str = ""
    patient: str = ""
    source: str = ""
