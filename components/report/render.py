"""From content to HTML and Markdown."""

import re
from typing import Any

import jinja2
import markupsafe
import yaml

from components.evaluation.results import Evaluation
from components.report import figures, formats, pictures
from components.report.content import ModelContent, RunContent
from components.report.examination import Examination
from components.report.model_card import model_card
from components.report.paper import PAPER
from models.features import CLASSES, DISCLAIMER, LABEL, SIZE_BUCKET, SIZE_BUCKETS, SOURCE

_SLICE_TITLES = {LABEL: "True class", SOURCE: "Source", SIZE_BUCKET: "Image size"}


def page(run: RunContent, examination: Examination) -> str:
    """Returns the report as one HTML document that refers to no other file."""
    template = _environment(autoescape=True).get_template("report.html.j2")
    best = run.best
    return template.render(
        run=run,
        examination=examination,
        paper=PAPER,
        classes=CLASSES,
        disclaimer=DISCLAIMER,
        gate=run.context["config"]["gate"],
        config=yaml.safe_dump(run.context["config"], sort_keys=False),
        drawings={model.name: _drawings(model) for model in run.models},
        card=model_card(run, best, examination.sources) if best else (),
        slice_titles=_SLICE_TITLES,
        label=LABEL,
    )


def model_card_markdown(run: RunContent, examination: Examination) -> str:
    """Returns the model card of the pushed classifier, else of the most accurate one."""
    best = run.best
    if best is None:
        return "# Model card\n\nNo classifier was evaluated.\n"
    template = _environment(autoescape=False).get_template("model_card.md.j2")
    return template.render(model=best.name, card=model_card(run, best, examination.sources))


def _drawings(model: ModelContent) -> dict[str, markupsafe.Markup]:
    drawn = {}
    if model.history:
        drawn["accuracy"] = figures.training_curves(model.history, "accuracy", "accuracy")
        drawn["loss"] = figures.training_curves(model.history, "loss", "loss")
    builds = {"float": model.float_build.evaluation, "edge": model.edge_build.evaluation}
    reliabilities = {
        name: evaluation.overall.reliability for name, evaluation in builds.items() if evaluation
    }
    if reliabilities:
        drawn["reliability"] = figures.reliability_diagram(reliabilities)
    return {name: markupsafe.Markup(drawing) for name, drawing in drawn.items()}


def _environment(autoescape: bool) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("components.report"),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        share=formats.share,
        number=formats.number,
        megabytes=formats.megabytes,
        percent=formats.percent,
        markdown=_escape_markdown,
        thumbnail=pictures.thumbnail,
    )
    environment.globals.update(overlay=pictures.overlay, slices=_slices)
    return environment


def _slices(evaluation: Evaluation) -> dict[str, list[Any]]:
    """The slices by feature, in the order of the titles; classes and sizes in their own."""
    by_feature: dict[str, list[Any]] = {feature: [] for feature in _SLICE_TITLES}
    for part in evaluation.slices:
        by_feature[part.feature].append(part)
    by_feature[LABEL].sort(key=lambda part: CLASSES.index(part.value))
    by_feature[SIZE_BUCKET].sort(key=lambda part: SIZE_BUCKETS.index(part.value))
    return {feature: parts for feature, parts in by_feature.items() if parts}


def _escape_markdown(text: str) -> str:
    """Source names and the like come from outside, and may hold Markdown or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(text.split()))
