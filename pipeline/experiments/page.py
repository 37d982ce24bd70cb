"""The page of the experiments: a section for each table or figure of the paper."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import numpy as np

from models.features import CLASSES, DISCLAIMER, GATE_ACCURACY
from pipeline.experiments.bench import Bench


@dataclass(frozen=True)
class Section:
    """One table or figure of the paper.

    Attributes:
        title, place: what it is and where the paper has it.
        note: what a reader must know to compare; may be empty.
        ran: how ours came about; may be empty.
        header, rows: of a table; may be empty.
        images: (caption, PNG file).
        small: whether the images are shown side by side.
    """

    title: str
    place: str
    note: str = ""
    ran: str = ""
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    images: tuple[tuple[str, Path], ...] = field(default=())
    small: bool = False


def render(sections: Sequence[Section], bench: Bench) -> str:
    """Returns the HTML of the page, pictures inside."""
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
        quick=bench.scale.size is not None,
        images=len(bench.dataset),
        counts=dict(zip(CLASSES, np.bincount(bench.dataset.labels).tolist(), strict=True)),
        digest=bench.dataset.digest,
        seed=bench.config.seed,
        gate=GATE_ACCURACY,
        disclaimer=DISCLAIMER,
    )


def _data_uri(file: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()
