"""The classifiers of a finished run beside the paper's figures, as Markdown, and their curves.

    python -m pipeline.experiments.classifiers_table RUN [--figures FOLDER]

RUN is the output folder of `coronet run`. FOLDER gets a PNG of each classifier's accuracy by
epoch, in the manner of the paper's figures 10 to 12.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tfx.dsl.io import fileio

from components.report.paper import PAPER
from models.errors import InputError
from models.features import CLASSES, HISTORY_FILE
from pipeline.comparison import Candidate, accuracy_with_interval, candidates_of
from pipeline.experiments import figures
from pipeline.run_store import open_run

History = Mapping[str, Sequence[float]]


def history_of(output: Path, model: str) -> History:
    """Returns what one classifier's training wrote per epoch, from `history.json`.

    Args:
        output: folder of the run.
        model: svm, mlp or coronet.

    Raises:
        InputError: the run did not train it, or the history is gone.
    """
    artifact = open_run(output).output(f"Trainer.{model}", "model_run")
    if artifact is None:
        raise InputError(f"the newest run in {output} trained no {model}")
    file = os.path.join(artifact.uri, HISTORY_FILE)
    if not fileio.exists(file):
        raise InputError(f"{file}, which the run in {output} wrote, is gone: run it again")
    with fileio.open(file, "r") as opened:
        history: History = json.loads(opened.read())
    if not history:
        raise InputError(f"{model} in {output} was not trained there: its weights were given")
    return history


def row(candidate: Candidate, history: History) -> tuple[str, ...]:
    """One classifier's cells, in the order of `HEADER`.

    The validation figures are of the epoch that was kept (before the batch-norm statistics were
    taken anew, if they were); those of the test split are the Evaluator's, with Wilson's 95%
    interval.
    """
    paper = PAPER[candidate.model]
    stated = paper.text if paper.accuracy is None else f"{paper.accuracy:g} ({paper.text})"
    kept = history["epoch"].index(candidate.description["best_epoch"])
    overall = candidate.evaluation.overall
    return (
        candidate.model,
        stated,
        f"{history['val_accuracy'][kept]:.3f}",
        f"{history['val_loss'][kept]:.3f}",
        f"{kept + 1} of {len(history['epoch'])}",
        accuracy_with_interval(overall),
        *(f"{result.recall:.2f}" for result in overall.classes),
    )


HEADER = (
    "classifier",
    "paper",
    "validation accuracy",
    "validation loss",
    "epoch kept",
    "test accuracy",
    *(f"recall {name}" for name in CLASSES),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--figures", type=Path, help="folder for the training curves")
    arguments = parser.parse_args()
    try:
        _print(arguments.run, arguments.figures)
    except InputError as error:
        sys.exit(str(error))


def _print(run: Path, folder: Path | None) -> None:
    lines = [HEADER, ("---",) * len(HEADER)]
    for candidate in candidates_of(run):
        history = history_of(run, candidate.model)
        lines.append(row(candidate, history))
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / f"training_{candidate.model}.png"
            figures.training_curves(history, candidate.model, file)
    for line in lines:
        print(f"| {' | '.join(line)} |")


if __name__ == "__main__":
    main()
