"""A training run that was killed goes on from its last whole epoch."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.atomic import staged

FILE = "checkpoint.pt"


class Checkpoint:
    """Everything that the rest of a run depends on, in one file.

    Args:
        folder: of the run.
        settings: of the run; it goes on only under the same.
        network, optimizer, random: what `restore` sets, `random` being where pictures are drawn
            from. PyTorch's own generator (dropout) is kept with them.
    """

    def __init__(
        self,
        folder: Path,
        settings: dict[str, Any],
        network: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        random: np.random.Generator,
    ) -> None:
        self._file, self._settings = folder / FILE, settings
        self._network, self._optimizer, self._random = network, optimizer, random

    def save(self, history: list[dict[str, Any]]) -> None:
        """Writes the state after the epochs that `history` has a line of."""
        texts = {
            "settings": self._settings,
            "history": history,
            "random": self._random.bit_generator.state,
        }
        state = {
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "dropout": torch.get_rng_state(),
            "texts": json.dumps(texts),
        }
        with staged(self._file) as staging:
            torch.save(state, staging)

    def restore(self) -> list[dict[str, Any]]:
        """Returns the history so far; an empty one where no epoch is whole.

        Raises:
            SystemExit: an unfinished run of other settings is in the folder.
        """
        if not self._file.exists():
            return []
        state = torch.load(self._file, weights_only=True)
        texts = json.loads(state["texts"])
        changed = [
            f"{key} was {texts['settings'].get(key)}, is {value}"
            for key, value in self._settings.items()
            if texts["settings"].get(key) != value
        ]
        if changed:
            raise SystemExit(
                f"{self._file.parent} holds an unfinished run of other settings "
                f"({'; '.join(changed)}): remove the folder to begin again."
            )
        self._network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["dropout"])
        self._random.bit_generator.state = texts["random"]
        return list(texts["history"])

    def remove(self) -> None:
        """Once the run is whole, nothing goes on from it."""
        self._file.unlink(missing_ok=True)
