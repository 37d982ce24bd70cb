"""The bundle that a command is given, or how to get one."""

from pathlib import Path

from models.errors import InputError


def require_bundle(bundle: Path) -> Path:
    """Returns `bundle`; what is in it, the edge runtime checks.

    Raises:
        InputError: there is no such path.
    """
    if not bundle.exists():
        raise InputError(
            f"{bundle} does not exist: name the bundle that a run pushed. To get one,\n"
            "  make run                  trains on the built-in sample: run/push, in minutes\n"
            "  coronet run --data DIR    trains on your X-rays: push/ in its --output\n"
            "  make model DATA=DIR       trains our best CORONet on them: model/run/push, in hours"
        )
    return bundle
