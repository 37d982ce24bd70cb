"""Between training and export: the student's weights under the names of figure 14."""

import argparse
from pathlib import Path

import torch

from pipeline.experiments.best_model import data
from pipeline.experiments.best_model.network import Coronet


def main() -> None:
    """Converts `weights.pt` of a student run to a NumPy archive that Keras's side can read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="weights.pt of a student")
    parser.add_argument("--output", type=Path, required=True, help="weights.npz to write")
    arguments = parser.parse_args()
    network = Coronet()
    network.load_state_dict(torch.load(arguments.weights, weights_only=True))
    data.save(arguments.output, **network.keras_weights())


if __name__ == "__main__":
    main()
