"""How numbers are written for people."""

import math

UNKNOWN = "n/a"


def share(value: float | None) -> str:
    """A number in [0, 1] to three digits; NaN, which an absent class has, is unknown."""
    return UNKNOWN if value is None or math.isnan(value) else f"{value:.3f}"


def number(value: float | None) -> str:
    """A number of any size to four digits."""
    return UNKNOWN if value is None or math.isnan(value) else f"{value:,.4g}"


def percent(value: float) -> str:
    """For widths and colours in a style attribute."""
    return "0%" if math.isnan(value) else f"{100 * value:.1f}%"


def megabytes(size: int) -> str:
    """Bytes in MB of 10^6."""
    return f"{size / 1e6:.2f} MB"
