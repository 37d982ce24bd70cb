"""What the component asks of the process that converts. Imports no TensorFlow."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Request:
    """What to build from what; all paths but the records' are local.

    Attributes:
        model: folder with the Trainer's `classifier.keras` and `model.json`.
        train_records, eval_records: files of transformed examples of the two splits.
        settings: `EdgeSettings` as JSON.
        output: folder to write.
    """

    model: str
    train_records: Sequence[str]
    eval_records: Sequence[str]
    settings: str
    output: str

    def to_json(self) -> str:
        """Returns the text of the file that the program takes."""
        return json.dumps(asdict(self))
