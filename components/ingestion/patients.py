"""The patient that a file name tells, for sets that name files after patients."""

import re
from posixpath import basename


def patient_in_name(name: str, pattern: str) -> str:
    """Returns what the group of `pattern` finds in the last part of `name`; empty if nothing.

    The folders are left out: they say what an image shows, and a pattern that starts with
    `^` means the start of the file's own name.
    """
    found = re.search(pattern, basename(name))
    return (found.group(1) or "") if found else ""
