"""Confidence intervals of shares, from counts."""

from dataclasses import dataclass

from scipy import stats

CONFIDENCE_LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A confidence interval; both ends in [0, 1]."""

    low: float
    high: float


def wilson(successes: int, trials: int) -> Interval:
    """Returns Wilson's 95 % score interval of the share `successes / trials`.

    It holds its level for small counts and shares near 1, where the normal approximation
    gives an interval of no width. No trials say nothing: [0, 1].
    """
    if trials == 0:
        return Interval(0.0, 1.0)
    interval = stats.binomtest(successes, trials).proportion_ci(CONFIDENCE_LEVEL, method="wilson")
    return Interval(float(interval.low), float(interval.high))
