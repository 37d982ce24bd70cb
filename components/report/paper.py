"""What the paper reports, with the place where it does."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PaperResult:
    """One of the paper's results.

    Attributes:
        accuracy: as printed; None where the text gives a bound in words only.
        text: the result in words.
        place: section, table or figure.
    """

    accuracy: float | None
    text: str
    place: str


PAPER = {
    "svm": PaperResult(0.633, "10-fold cross-validation, C = 0.1", "III.A.4, table"),
    "mlp": PaperResult(None, "below the threshold", "III.B.3"),
    "coronet": PaperResult(0.87908, "challenge's test set; 0.9336 on its hold-out", "III.C.3"),
}
