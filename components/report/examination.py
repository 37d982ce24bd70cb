"""What the report finds out by itself, by looking at the test images with the models."""

from dataclasses import dataclass

from tfx.types import Artifact

from components.report import latency, mistakes, samples
from components.report.content import ModelContent, RunContent
from models.features import CLASSES
from models.preprocessing import ResolvedPreprocessing

TIMED_IMAGES = 20


@dataclass(frozen=True)
class Examination:
    """Findings that no artifact holds.

    Attributes:
        sources: test images by (class, source).
        mistakes: per classifier.
        latencies: per classifier with an edge build.
        samples: one test image of each class through every preprocessing method.
    """

    sources: dict[tuple[str, str], int]
    mistakes: dict[str, mistakes.Search]
    latencies: dict[str, latency.Latency]
    samples: tuple[samples.Sample, ...]


def examine(run: RunContent, examples: Artifact) -> Examination:
    """Looks at the test split of the raw `examples` with each classifier of `run`."""
    split = mistakes.read_test_split(examples)
    timed = [image.encoded for image in split.images[:TIMED_IMAGES]]
    return Examination(
        sources=split.sources,
        mistakes={
            model.name: mistakes.find_mistakes(model.model_folder, split.images)
            for model in run.models
            if model.model_folder and split.images
        },
        latencies={
            model.name: latency.measure(model.edge_files.folder, timed)
            for model in run.models
            if model.edge_files and timed
        },
        samples=tuple(_samples(run.best, split)) if run.best else (),
    )


def _samples(model: ModelContent, split: mistakes.TestSplit) -> list[samples.Sample]:
    used = ResolvedPreprocessing.from_dict(model.description["preprocessing"])
    first = {image.label: image for image in reversed(split.images)}
    return [samples.sample(first[label], used) for label in range(len(CLASSES)) if label in first]
