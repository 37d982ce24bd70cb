"""The paper's tables and figures, computed again, on one page with the paper's values.

An output folder holds `index.html` and `experiments/`, where every trained fold is kept:
run again, or after it was stopped, only what is missing is trained.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import jinja2
import numpy as np
import tensorflow as tf

from models.coronet import build_coronet
from models.features import CLASSES, DISCLAIMER, GATE_ACCURACY
from models.preprocessing import preprocess_encoded, resolve
from models.settings import (
    AugmentationSettings,
    ClassifierSettings,
    CoronetSettings,
    PreprocessingSettings,
    SvmSettings,
)
from pipeline.config import Config
from pipeline.experiments import figures, paper
from pipeline.experiments.crossval import (
    Variant,
    cross_validate,
    statistics_of,
    target_pixels,
    variants,
)
from pipeline.experiments.dataset import LabelledImages
from pipeline.experiments.results import FoldResult, Setup, Summary, summarize, write_text

METHODS = ("A", "B", "C", "D")
EARLIER_AUGMENTATION = AugmentationSettings(rotation_degrees=10, shift=0.2, shear=0.2, zoom=0.2)
HOLD_OUT_FOLDS = 5  # one fold of five: the paper's 80/20 split
SHOWN_IMAGE = 6  # "7th training image", figure 2

Progress = Callable[[str, int, int], None]
"""Called with the section, how many of its trainings are done, and of how many."""


@dataclass(frozen=True)
class Scale:
    """How much work each experiment is.

    Attributes:
        folds: of the cross-validations; the paper's is 10.
        thresholds: of the paper's three.
        size: pixels a side under the preset threshold; None takes each classifier's own.
        svm_epochs, mlp_epochs, coronet_epochs: None takes the settings'.
    """

    folds: int = 10
    thresholds: tuple[str, ...] = ("max", "min", "preset")
    size: int | None = None
    svm_epochs: int | None = None
    mlp_epochs: int | None = None
    coronet_epochs: int | None = None


FULL = Scale()
QUICK = Scale(
    folds=3, thresholds=("preset",), size=40, svm_epochs=10, mlp_epochs=10, coronet_epochs=2
)


@dataclass(frozen=True)
class Section:
    """One table or figure of the paper.

    Attributes:
        title, place: what it is and where the paper has it.
        note: what a reader must know to compare; may be empty.
        header, rows: of a table; may be empty.
        images: (caption, PNG file).
    """

    title: str
    place: str
    note: str = ""
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    images: tuple[tuple[str, Path], ...] = field(default=())


@dataclass(frozen=True)
class Bench:
    """What the experiments share."""

    dataset: LabelledImages
    config: Config
    scale: Scale
    output: Path
    workers: int
    progress: Progress

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
            lambda _, done, count: self.progress(section, done, count),
            only,
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


def reproduce(
    dataset: LabelledImages,
    config: Config,
    output: Path,
    workers: int,
    scale: Scale = FULL,
    progress: Progress = lambda section, done, count: None,
) -> Path:
    """Runs every experiment and writes the page; returns its path.

    Args:
        dataset: labelled images.
        config: of the `paper` preset, or changed from it.
        output: folder to write.
        workers: processes that train at a time.
        scale: `FULL` is the paper's; takes hours to days on a CPU.
        progress: told as trainings end.

    Raises:
        InputError: too few patients for the folds, or settings that cannot be trained.
    """
    bench = Bench(dataset, config, scale, output, workers, progress)
    makers = (
        _preprocessing,
        _svm_grid,
        partial(_methods, model="svm", place="figure 4, III.A.3"),
        partial(_methods, model="mlp", place="figures 5 and 6, III.B.3"),
        _coronet,
        _architecture,
    )
    page = _render([make(bench) for make in makers], bench)
    write_text(output / "index.html", page)
    return output / "index.html"


def _preprocessing(bench: Bench) -> Section:
    """Figure 2: one image through the four methods."""
    dataset = bench.dataset
    number = min(SHOWN_IMAGE, len(dataset) - 1)
    drawn = []
    original = bench.figure("original")
    _write_png(original, tf.io.decode_image(dataset.encoded[number], channels=1).numpy())
    drawn.append(("original", original))
    statistics = statistics_of(dataset, np.arange(len(dataset)))
    for method in METHODS:
        common = bench.classifier("coronet", None).preprocessing
        assert common is not None
        settings = PreprocessingSettings.model_validate(
            common.model_dump() | {"method": method, "threshold": "preset"}
        )
        resolved = resolve(settings, target_pixels(settings, statistics))
        image = preprocess_encoded(tf.constant([dataset.encoded[number]]), resolved)
        file = bench.figure(f"method_{method}")
        _write_png(file, image[0].numpy())
        drawn.append((f"method {method}, {resolved.width} x {resolved.height}", file))
    label = CLASSES[int(dataset.labels[number])]
    return Section(
        title="Pre-processing",
        place="figure 2",
        note=f"Image {number + 1} of this data set ({label}); the paper's image is not public.",
        images=tuple(drawn),
    )


def _svm_grid(bench: Bench) -> Section:
    """The table of section III.A.4."""
    base = bench.classifier("svm", bench.scale.svm_epochs)
    assert isinstance(base, SvmSettings)
    assert base.preprocessing is not None
    (reference,) = variants({"svm": base}, ["D"], [base.preprocessing.threshold])
    chosen = [
        Variant(
            Setup("svm", "D", reference.setup.threshold, f"C = {c}, epsilon = {epsilon}"),
            reference.settings.model_copy(update={"c": c, "epsilon": epsilon}),
        )
        for c, epsilon in paper.GRID
    ]
    summaries = summarize(bench.run("SVM, C and epsilon", chosen, bench.scale.folds))
    rows = tuple(
        (str(c), str(epsilon), printed, *_ours(summary))
        for ((c, epsilon), printed), summary in zip(paper.GRID.items(), summaries, strict=True)
    )
    return Section(
        title="SVM: C and epsilon",
        place="table of III.A.4",
        note=(
            "The paper's table lists (0.001, 0.00001) twice and (0.001, 0.0001) not at all; and "
            "its text then calls C = 0.01 appropriate, where its best row has C = 0.1."
        ),
        header=("C", "epsilon", "paper", "ours", "95% interval"),
        rows=rows,
    )


def _methods(bench: Bench, model: str, place: str) -> Section:
    """Figures 4 and 5: accuracy over methods and thresholds; figure 6: confusion."""
    epochs = bench.scale.svm_epochs if model == "svm" else bench.scale.mlp_epochs
    chosen = variants({model: bench.classifier(model, epochs)}, METHODS, bench.scale.thresholds)
    title = f"{model.upper()}: methods and thresholds"
    summaries = summarize(bench.run(title, chosen, bench.scale.folds))
    bars, confusion = bench.figure(f"accuracy_{model}"), bench.figure(f"confusion_{model}")
    figures.accuracy_bars(summaries, f"{model}, {bench.scale.folds} folds", bars)
    last = bench.scale.thresholds[-1]
    figures.confusion_matrices(
        {
            f"Method {one.setup.method}": np.array(one.confusion)
            for one in summaries
            if one.setup.threshold == last
        },
        confusion,
    )
    return Section(
        title=title,
        place=place,
        note="The paper's bars carry no numbers. Our confusion matrices add up all folds.",
        header=("method", "threshold", "paper", "ours", "95% interval"),
        rows=tuple(
            (one.setup.method, one.setup.threshold, paper.BELOW_THRESHOLD, *_ours(one))
            for one in summaries
        ),
        images=(
            ("accuracy; whiskers: one standard deviation over the folds", bars),
            (f"confusion, threshold {last}", confusion),
        ),
    )


def _coronet(bench: Bench) -> Section:
    """Figures 10 to 13: the three stages of CORONet on one hold-out set."""
    base = bench.classifier("coronet", bench.scale.coronet_epochs)
    assert isinstance(base, CoronetSettings)
    assert base.preprocessing is not None
    enhanced = base.augmentation
    stages = ((256, EARLIER_AUGMENTATION), (256, enhanced), (1024, enhanced))
    chosen = [
        Variant(
            Setup("coronet", base.preprocessing.method, base.preprocessing.threshold, name),
            base.model_copy(update={"dense_units": units, "augmentation": augmentation}),
        )
        for (_, name, _, _), (units, augmentation) in zip(paper.CORONET_STAGES, stages, strict=True)
    ]
    results = bench.run("CORONet", chosen, HOLD_OUT_FOLDS, only=1)
    summaries = summarize(results)
    images = []
    for (place, name, _, _), result in zip(paper.CORONET_STAGES, results, strict=True):
        file = bench.figure(place.replace(" ", "_"))
        figures.training_curves(result.history, name, file)
        images.append((f"{place}: {name}", file))
    confusion = bench.figure("figure_13")
    figures.confusion_matrices({"last stage": np.array(summaries[-1].confusion)}, confusion)
    images.append((f"figure 13; the paper's accuracy: {paper.HOLD_OUT:.4f}", confusion))
    return Section(
        title="CORONet",
        place="figures 10 to 13, III.C.3",
        note=(
            "Ours: one fold of five, by patient, that neither trained nor picked the epoch. The "
            "paper's hold-out also picked the epoch, and its challenge set is not public."
        ),
        header=("configuration", "paper, hold-out", "paper, challenge", "ours", "95% interval"),
        rows=tuple(
            (name, f"{hold_out:.2f}", f"{score:.5f}", *_ours(summary))
            for (_, name, hold_out, score), summary in zip(
                paper.CORONET_STAGES, summaries, strict=True
            )
        ),
        images=tuple(images),
    )


def _architecture(bench: Bench) -> Section:
    """Figure 14: the table of layers."""
    model = build_coronet(200)
    rows = tuple(
        (
            layer.name,
            type(layer).__name__,
            str(tuple(layer.output.shape)),
            str(layer.count_params()),
        )
        for layer in model.layers
    )
    same = "equal" if model.count_params() == paper.PARAMETERS else "DIFFERENT"
    return Section(
        title="CORONet: layers",
        place="figure 14",
        note=(
            f"Parameters: paper {paper.PARAMETERS:,}, ours {model.count_params():,} ({same}), "
            "counting the moving statistics of batch normalisation."
        ),
        header=("layer", "type", "output shape", "parameters"),
        rows=rows,
    )


def _ours(summary: Summary) -> tuple[str, str]:
    return f"{summary.mean:.3f}", f"{summary.low:.3f} to {summary.high:.3f}"


def _write_png(file: Path, image: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    _, encoded = cv2.imencode(".png", image)
    file.write_bytes(encoded.tobytes())


def _render(sections: Sequence[Section], bench: Bench) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.experiments"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    return environment.get_template("reproduce.html.j2").render(
        sections=sections,
        quick=bench.scale != FULL,
        images=len(bench.dataset),
        counts=dict(zip(CLASSES, np.bincount(bench.dataset.labels).tolist(), strict=True)),
        digest=bench.dataset.digest,
        seed=bench.config.seed,
        folds=bench.scale.folds,
        gate=GATE_ACCURACY,
        disclaimer=DISCLAIMER,
    )


def _data_uri(file: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()
