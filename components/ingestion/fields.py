"""What a field of a table, a sidecar or a header says, as text."""


def field_text(value: object) -> str:
    """Returns `value` as text without surrounding space; empty if there is none.

    The number 0 says something: as "unknown" it would scatter one patient over the splits.
    """
    return "" if value is None else str(value).strip()
