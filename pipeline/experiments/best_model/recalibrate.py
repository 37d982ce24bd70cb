"""In PyTorch's environment: batch-norm statistics of images as they will be served.

While it trains, the network sees shifted, mixed and brightened views, and its moving
statistics describe those. Taken again over the training images as they are (and mirrored,
as at prediction), they fit what the network is asked about. The weights stay.

    python -m pipeline.experiments.best_model.recalibrate --work WORK --weights weights.pt \
        --output recalibrated.pt
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pipeline.experiments.best_model import data
from pipeline.experiments.best_model.network import Coronet
from pipeline.experiments.best_model.precision import autocast
from pipeline.experiments.best_model.train import validate

BATCH = 32


def recalibrate(network: nn.Module, images: np.ndarray, seed: int) -> None:
    """Replaces the moving statistics of batch normalisation by their mean over the batches.

    Args:
        network: takes [B, 1, H, W] in [0, 1].
        images: uint8 [N, H, W]; each is seen once as it is and once mirrored.
        seed: of the order, which mixes the classes within a batch.
    """
    momenta = {}
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            momenta[module] = module.momentum
            module.reset_running_stats()
            module.momentum = None  # PyTorch's cumulative average
    network.train()
    with torch.no_grad(), autocast():
        for batch in _batches(images, seed):
            network(batch)
    network.eval()
    for module, momentum in momenta.items():
        module.momentum = momentum


def _batches(images: np.ndarray, seed: int) -> Iterator[torch.Tensor]:
    both = np.concatenate([images, images[:, :, ::-1]])
    order = np.random.default_rng(seed).permutation(len(both))
    # A short last batch would weigh as much as a full one: leave it out.
    for start in range(0, len(order) - BATCH + 1, BATCH):
        chosen = torch.from_numpy(both[order[start : start + BATCH], None]).float() / 255
        yield chosen.contiguous(memory_format=torch.channels_last)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="what `prepare` wrote")
    parser.add_argument("--weights", type=Path, required=True, help="weights.pt of a student")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    parser.add_argument("--fold", type=int, default=data.NO_FOLD, help="fold to validate on")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    prepared = data.load(arguments.work)
    training, validation = prepared.split(arguments.fold)
    network = Coronet()
    network.load_state_dict(torch.load(arguments.weights, weights_only=True))
    network = network.to(memory_format=torch.channels_last)
    size = prepared.images.shape[1]
    print(json.dumps({"before": validate(network, prepared, validation, size)}))
    recalibrate(network, prepared.images[training], arguments.seed)
    print(json.dumps({"after": validate(network, prepared, validation, size)}))
    torch.save(network.state_dict(), arguments.output)


if __name__ == "__main__":
    main()
