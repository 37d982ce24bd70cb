"""One image somewhere: in a file of its own, or inside an archive."""

import json
from dataclasses import astuple, dataclass

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

    def pack(self) -> bytes:
        """Returns a compact form: a million references pass through a shuffle at once.

        JSON, because a file name may be no valid text.
        """
        return json.dumps(astuple(self)).encode()

    @classmethod
    def unpack(cls, packed: bytes) -> "Reference":
        """The inverse of `pack`."""
        return cls(*json.loads(packed))
