"""What the experiments of the page share, and how much work each is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from models.settings import ClassifierSettings
from pipeline.config import Config
from pipeline.experiments.crossval import Progress, Variant, cross_validate
from pipeline.experiments.dataset import LabelledImages
from pipeline.experiments.results import FoldResult

Show = Callable[[str, Progress], None]
"""Called with the section, and how far its trainings are."""


@dataclass(frozen=True)
class Scale:
    """How much work each experiment is.

    Attributes:
        folds: of the cross-validations; the paper's is 10.
        first: run this many of the folds; None runs all.
        thresholds: of the paper's three.
        size: pixels a side under the preset threshold; None takes each classifier's own.
        svm_epochs, mlp_epochs, learning_epochs, coronet_epochs: None takes the settings', or
            the section's own.
    """

    folds: int = 10
    first: int | None = None
    thresholds: tuple[str, ...] = ("max", "min", "preset")
    size: int | None = None
    svm_epochs: int | None = None
    mlp_epochs: int | None = None
    learning_epochs: int | None = None
    coronet_epochs: int | None = None


FULL = Scale()
QUICK = Scale(
    folds=3,
    thresholds=("preset",),
    size=40,
    svm_epochs=10,
    mlp_epochs=10,
    learning_epochs=10,
    coronet_epochs=2,
)


@dataclass(frozen=True)
class Bench:
    """What the experiments share."""

    dataset: LabelledImages
    config: Config
    scale: Scale
    output: Path
    workers: int
    progress: Show

    def run(
        self, section: str, chosen: Sequence[Variant], folds: int, only: int | None = None
    ) -> list[FoldResult]:
        """Cross-validates the variants, below `experiments/`."""
        return cross_validate(
            self.dataset,
            chosen,
            folds,
            self.config.seed,
            self.output / "experiments",
            self.workers,
            partial(self.progress, section),
            self.scale.first if only is None else only,
        )

    def figure(self, name: str) -> Path:
        """Returns where to draw figure `name`."""
        return self.output / "figures" / f"{name}.png"

    def classifier(self, name: str, epochs: int | None) -> ClassifierSettings:
        """Returns the settings of classifier `name`, scaled."""
        settings = self.config.classifier(name)
        assert settings.preprocessing is not None  # `classifier` fills it in
        if self.scale.size is not None:
            changed = settings.preprocessing.model_copy(
                update={"threshold": "preset", "size": self.scale.size}
            )
            settings = settings.model_copy(update={"preprocessing": changed})
        if epochs is not None:
            training = settings.training.model_copy(update={"epochs": epochs})
            settings = settings.model_copy(update={"training": training})
        return settings
