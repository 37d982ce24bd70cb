"""From content to HTML and Markdown."""

import re

import jinja2
import markupsafe
import yaml

from components.report import figures, formats, pictures, slices
from components.report.content import ModelContent, RunContent
from components.report.examination import Examination
from components.report.model_card import model_card
from components.report.paper import PAPER
from models.features import CLASSES, DISCLAIMER, LABEL

_COPIES = {
    "exact_groups": "groups of exact copies",
    "conflicting_groups": "groups of exact copies with different labels",
    "near_groups": "groups of near copies",
    "near_groups_with_different_labels": "groups of near copies with different labels",
    "groups_across_splits": "groups of copies across splits",
    "moved_from_given_split": "images moved from the split that was given for them",
}
"""What ingestion's summary counts, in words."""


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
        slice_titles=slices.TITLES,
        label=LABEL,
        copies=_COPIES,
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
    environment.globals.update(overlay=pictures.overlay, slices=slices.by_feature)
    return environment


def _escape_markdown(text: str) -> str:
    """Source names and the like come from outside, and may hold Markdown or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(text.split()))
