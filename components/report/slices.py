"""The slices of an evaluation as people read them: by feature, in a fixed order."""

from components.evaluation.results import Evaluation, SliceResult
from models.features import CLASSES, LABEL, SIZE_BUCKET, SIZE_BUCKETS, SOURCE

TITLES = {LABEL: "True class", SOURCE: "Source", SIZE_BUCKET: "Image size"}


def by_feature(evaluation: Evaluation) -> dict[str, list[SliceResult]]:
    """The slices by feature, in the order of the titles; classes and sizes in their own."""
    found: dict[str, list[SliceResult]] = {feature: [] for feature in TITLES}
    for part in evaluation.slices:
        found[part.feature].append(part)
    found[LABEL].sort(key=lambda part: CLASSES.index(part.value))
    found[SIZE_BUCKET].sort(key=lambda part: SIZE_BUCKETS.index(part.value))
    return {feature: parts for feature, parts in found.items() if parts}
