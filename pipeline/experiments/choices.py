"""Comma-separated choices on the command line."""

from collections.abc import Sequence

from models.errors import InputError


def choose(option: str, text: str, known: Sequence[str]) -> tuple[str, ...]:
    """Returns the chosen names in the order of `known`.

    Args:
        option: for the message, such as `--model`.
        text: names with commas between, or `all`.
        known: what can be chosen.

    Raises:
        InputError: a name that is not known, or none at all.
    """
    if text.strip() == "all":
        return tuple(known)
    names = {name.strip() for name in text.split(",") if name.strip()}
    unknown = sorted(names - set(known))
    if unknown or not names:
        raise InputError(
            f"{option} takes {', '.join(known)} or all; received {', '.join(unknown) or text!r}"
        )
    return tuple(name for name in known if name in names)
