"""What the paper printed of each experiment, to stand beside ours."""

from typing import Final

GRID: Final = {
    (0.1, 0.001): "0.264",
    (0.01, 0.001): "0.397",
    (0.001, 0.001): "0.325",
    (0.1, 0.0001): "0.633",
    (0.01, 0.0001): "0.572",
    (0.001, 0.0001): "0.436*",
    (0.1, 0.00001): "0.385",
    (0.01, 0.00001): "0.535",
    (0.001, 0.00001): "0.242",
}
"""Accuracy by (C, epsilon), section III.A.4. The table lists (0.001, 0.00001) twice, as 0.436
and 0.242, and (0.001, 0.0001) not at all. Its rows run through C within each epsilon, so the
first of the two stands where (0.001, 0.0001) belongs, and is read as it."""

PARAMETERS: Final = 22_641_156
"""Of CORONet: the sum over the rows of figure 14."""

HOLD_OUT: Final = 0.9336283185840708
"""Accuracy of the final CORONet on the hold-out set, section III.C.3 (figure 13)."""

CORONET_STAGES: Final = (
    ("figure 10", "256 units, 10 degrees and 0.2", 0.80, 0.81372),
    ("figure 11", "256 units, 20 degrees and 0.3", 0.81, 0.84640),
    ("figure 12", "1024 units, 20 degrees and 0.3", 0.89, 0.87908),
)
"""(place, configuration, accuracy on the hold-out, challenge score), section III.C.3."""

_BELOW = "below 0.80065"
METHODS: Final = {
    "svm": {"A": _BELOW, "B": _BELOW, "C": _BELOW, "D": f"{_BELOW}, the best"},
    "mlp": {
        "A": "below 0.5, second",
        "B": "below 0.5",
        "C": "below 0.5",
        "D": f"{_BELOW}, the best",
    },
}
"""What sections III.A.3, III.B.3 and III.B.4 say of figures 4 and 5, whose bars carry no numbers:
D was "once again" the best, and A, ahead of B and C, "unable to reach the 50% mark"."""
