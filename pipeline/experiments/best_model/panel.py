"""What teachers know of a fold that none of them saw: each alone, then their mean.

    python -m pipeline.experiments.best_model.panel --work WORK --fold 0 \\
        --soft-labels WORK/small-1/soft_labels.npz --unseen WORK/unseen-1.npz
"""

import argparse
import json
from pathlib import Path

import numpy as np

from pipeline.experiments.best_model import data, soft_labels, unseen
from pipeline.experiments.best_model.scores import scores


def main() -> None:
    """Entry point: a line of JSON each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="what `prepare` wrote")
    parser.add_argument("--fold", type=int, required=True, help="that no teacher trained on")
    parser.add_argument(
        "--soft-labels", type=Path, action="append", required=True, help="of a network"
    )
    parser.add_argument(
        "--unseen",
        type=Path,
        action="append",
        default=[],
        help="of `feature_teacher` without --fold",
    )
    arguments = parser.parse_args()
    prepared = data.load(arguments.work)
    _, fold = prepared.split(arguments.fold)
    answers = {
        str(file): soft_labels.load(file).over_views()[fold] for file in arguments.soft_labels
    }
    answers |= {str(file): unseen.load(file)[fold] for file in arguments.unseen}
    answers["their mean"] = np.mean(list(answers.values()), axis=0)
    for name, probabilities in answers.items():
        print(json.dumps({"teacher": name, **scores(probabilities, prepared.labels[fold])}))


if __name__ == "__main__":
    main()
