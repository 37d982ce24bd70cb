"""Tables and figures of a cross-validation."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from models.features import CLASSES
from pipeline.experiments.figures import accuracy_bars, confusion_matrices
from pipeline.experiments.results import (
    FoldResult,
    Summary,
    markdown_table,
    size_text,
    summarize,
    write_text,
)


def write_report(results: Sequence[FoldResult], folds: int, output: Path) -> list[Summary]:
    """Writes tables and figures of `results`, and returns their summaries.

    Args:
        results: of some or all of the folds.
        folds: k.
        output: folder to write.
    """
    summaries = summarize(results)
    write_text(
        output / "crossval.json",
        json.dumps(
            {
                "summaries": [asdict(summary) for summary in summaries],
                "folds": [asdict(result) for result in results],
            },
            indent=2,
        )
        + "\n",
    )
    write_text(output / "crossval.md", summary_table(summaries, folds))
    for model in dict.fromkeys(summary.setup.model for summary in summaries):
        own = [summary for summary in summaries if summary.setup.model == model]
        accuracy_bars(
            own, f"{model}, {own[0].folds} of {folds} folds", output / f"accuracy_{model}.png"
        )
        confusion_matrices(
            {f"{one.setup.method}, {one.setup.threshold}": np.array(one.confusion) for one in own},
            output / f"confusion_{model}.png",
            columns=len({one.setup.threshold for one in own}) if len(own) > 4 else len(own),
        )
    return summaries


def summary_table(summaries: Sequence[Summary], folds: int) -> str:
    """Returns the summaries as a Markdown table, one line a setup."""
    header = [
        "model",
        "method",
        "threshold",
        "pixels",
        "folds",
        "accuracy",
        "± over folds",
        "95% interval",
    ]
    rows = [
        [
            f"{summary.setup.model} {summary.setup.variant}".strip(),
            summary.setup.method,
            summary.setup.threshold,
            size_text(summary.sizes),
            f"{summary.folds} of {folds}",
            f"{summary.mean:.3f}",
            f"{summary.deviation:.3f}" if summary.folds > 1 else "-",
            f"{summary.low:.3f} to {summary.high:.3f}",
            *("-" if recall is None else f"{recall:.3f}" for recall in summary.recall),
            f"{summary.seconds:.0f}",
        ]
        for summary in summaries
    ]
    return markdown_table([*header, *(f"recall {name}" for name in CLASSES), "seconds"], rows)
