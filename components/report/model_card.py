"""The model card: what the released model is for, what it is not, and how good it is.

Its sections are those of the Model Card Toolkit (Mitchell et al., 2019).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from components.evaluation.results import Evaluation, SliceResult
from components.report import slices
from components.report.content import ModelContent, RunContent
from components.report.formats import share
from models.features import CLASSES, DISCLAIMER, LABEL

PAPER_TITLE = (
    "Krivonos, A. (2020). Diagnosing COVID-19 in Chest X-Ray Images Using Various Machine "
    "Learning Classifiers."
)


@dataclass(frozen=True)
class Entry:
    """A heading of the second level with paragraphs, then a list."""

    title: str
    paragraphs: tuple[str, ...] = ()
    points: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """A heading of the first level."""

    title: str
    entries: tuple[Entry, ...] = field(default=())


def model_card(
    run: RunContent, model: ModelContent, sources: dict[tuple[str, str], int]
) -> tuple[Section, ...]:
    """Writes the card of `model`.

    Args:
        run: the run it comes from.
        model: an evaluated classifier.
        sources: test images by (class, source).
    """
    return (
        _details(run, model),
        _parameters(run, model),
        _analysis(model),
        _considerations(model, sources),
    )


def exclusive_sources(sources: dict[tuple[str, str], int]) -> dict[str, tuple[str, ...]]:
    """Returns the sources that have images of one class only, by that class.

    A model can tell such a class by its source (scanner, cropping, the patients' age)
    instead of by its disease; good results on such data do not prove that it does not.
    """
    classes_of: dict[str, set[str]] = {}
    for name, source in sources:
        classes_of.setdefault(source, set()).add(name)
    if len(classes_of) < 2:
        return {}
    found: dict[str, list[str]] = {}
    for source, classes in sorted(classes_of.items()):
        if len(classes) == 1:
            found.setdefault(next(iter(classes)), []).append(source)
    return {name: tuple(found[name]) for name in CLASSES if name in found}


def _details(run: RunContent, model: ModelContent) -> Section:
    if model.name == run.pushed:
        builds = "SavedModel and TFLite" if run.pushed_edge else "SavedModel only"
        status = f"Released by this run ({builds})."
    elif model.float_build.blessed:
        status = "Not released: it passed its gate, and was not chosen."
    else:
        status = "Not released: it did not pass its gate."
    return Section(
        "Model details",
        (
            Entry("Name", (f"CORONet project, classifier {model.name}",)),
            Entry(
                "Overview",
                (
                    "Classifies a frontal chest X-ray as normal, bacterial pneumonia, viral "
                    "pneumonia or COVID-19.",
                    status,
                    DISCLAIMER,
                ),
            ),
            Entry(
                "Version",
                points=(
                    f"code revision {run.context['revision']}",
                    f"data digest {run.context['data_digest']}",
                ),
            ),
            Entry("Licence", ("The code is under the Apache License 2.0.",)),
            Entry("References", points=(PAPER_TITLE,)),
        ),
    )


def _parameters(run: RunContent, model: ModelContent) -> Section:
    preprocessing = model.description["preprocessing"]
    height, width = preprocessing["height"], preprocessing["width"]
    clahe = "then CLAHE" if preprocessing["clahe"] else "without CLAHE"
    counts = (
        f"{split}: " + ", ".join(f"{count} {name}" for name, count in by_class.items())
        for split, by_class in run.data.splits.items()
    )
    return Section(
        "Model parameters",
        (
            Entry("Architecture", (_ARCHITECTURES[model.name],)),
            Entry(
                "Data",
                (
                    "Images by split and class. A patient's images are all in one split where the "
                    "data names the patient; an image of an unknown patient is assigned by itself.",
                ),
                tuple(counts),
            ),
            Entry(
                "Input",
                (
                    "A greyscale image of any size; it is resized by the paper's method "
                    f"{preprocessing['method']} to {width} x {height} pixels, {clahe}.",
                ),
            ),
            Entry("Output", (f"A probability for each of: {', '.join(CLASSES)}.",)),
        ),
    )


_ARCHITECTURES = {
    "svm": "Four linear one-against-all support vector machines (the paper's section III.A).",
    "mlp": "A fully connected network (the paper's section III.B).",
    "coronet": "CORONet, a residual convolutional network (the paper's section III.C).",
}


def _analysis(model: ModelContent) -> Section:
    entries = []
    for title, build in (("Float build", model.float_build), ("Edge build", model.edge_build)):
        if build.evaluation is not None:
            verdict = "passed its gate" if build.blessed else "did not pass its gate"
            entries.append(
                Entry(
                    f"{title}: {verdict}",
                    ("On the test split, with 95 % Wilson intervals.",),
                    tuple(_metrics(build.evaluation)),
                )
            )
    return Section("Quantitative analysis", tuple(entries))


def _metrics(evaluation: Evaluation) -> Iterable[str]:
    overall = evaluation.overall
    yield f"accuracy {_with_interval(overall)} on {_images(overall.images)}"
    yield f"expected calibration error {overall.calibration_error:.3f}, Brier {overall.brier:.3f}"
    for result in overall.classes:
        interval = result.recall_interval
        yield (
            f"{result.name}: recall {share(result.recall)} "
            f"({interval.low:.3f} to {interval.high:.3f}), precision {share(result.precision)}, "
            f"{_images(result.images)}"
        )
    for feature, parts in slices.by_feature(evaluation).items():
        if feature != LABEL:
            for part in parts:
                title, accuracy = slices.TITLES[feature].lower(), _with_interval(part)
                yield f"{title} {part.value}: accuracy {accuracy}, {_images(part.images)}"


def _images(count: int) -> str:
    return f"{count} image" if count == 1 else f"{count} images"


def _with_interval(part: SliceResult) -> str:
    interval = part.accuracy_interval
    return f"{part.accuracy:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def _considerations(model: ModelContent, sources: dict[tuple[str, str], int]) -> Section:
    confounders = [
        f"Every test image from {_listed(names)} is of class {label}, so the model may know the "
        "class by its source and not by its disease."
        for label, names in exclusive_sources(sources).items()
    ]
    if len({source for _, source in sources}) == 1:
        confounders.append(
            "All test images carry one source, so nothing is known about images from elsewhere."
        )
    overall = model.float_build.evaluation
    classes = overall.overall.classes if overall else ()
    tested = [result for result in classes if result.images]
    untested = [result.name for result in classes if not result.images]
    limits = [
        *confounders,
        "Images from other hospitals, machines or age groups than the training images may be "
        "classified wrongly with high confidence.",
        "A picture that is not a frontal chest X-ray gets one of the four classes all the same.",
        "Bacterial and viral pneumonia look alike, to people and to the models of the paper.",
    ]
    if tested:
        weakest = min(tested, key=lambda result: result.recall)
        limits.append(f"The class it finds least often is {weakest.name}: {weakest.recall:.3f}.")
    if untested:
        limits.append(f"No test image is {_listed(untested)}: how well that is found is not known.")
    return Section(
        "Considerations",
        (
            Entry("Intended users", ("Engineers and researchers in machine learning.",)),
            Entry(
                "Use cases",
                points=(
                    "Reproducing and extending the paper.",
                    "Trying out a pipeline from training to a gated edge build.",
                ),
            ),
            Entry(
                "Out of scope",
                (DISCLAIMER,),
                ("Diagnosis, triage, screening, or any decision about a person.",),
            ),
            Entry("Limitations", points=tuple(limits)),
            Entry(
                "Trade-offs",
                (
                    "The edge build trades precision for size and speed where it is quantized, "
                    "which may change predictions. It has a gate of its own, on the same images.",
                ),
            ),
            Entry(
                "Ethical considerations",
                points=(
                    "A missed infection and a false alarm both harm. Mitigation: per-class "
                    "recall and precision are reported, and recall may be gated.",
                    "The data says little about age, sex and origin. Mitigation: results per "
                    "source and image size are reported; fairness across people is not known.",
                ),
            ),
        ),
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
