"""`coronet submit`."""

import sys
from pathlib import Path
from typing import Annotated

import typer


def submit(
    bundle: Annotated[Path, typer.Argument(help="The push/ folder of a run.")],
    images: Annotated[
        Path, typer.Argument(help="Folder of images, or a CSV with a column `filename`.")
    ],
    out: Annotated[Path, typer.Option(help="CSV to write.")] = Path("submission.csv"),
    edge: Annotated[
        bool, typer.Option("--edge", help="Predict with the TFLite build, not the SavedModel.")
    ] = False,
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", help="Leave the label of an unreadable image empty."),
    ] = False,
) -> None:
    """Predict unlabelled images, for the challenge: one row `filename,label` each."""
    from components.ingestion.names import printable
    from models.features import DISCLAIMER
    from pipeline.quiet import hush

    hush()
    from pipeline import submission

    inputs = submission.find_inputs(images)
    label = submission.edge_build(bundle) if edge else submission.float_build(bundle)
    written = submission.write_submission(inputs, label, out, allow_missing)
    for name in written.missing:
        print(f"no label for {printable(name)}: it cannot be read", file=sys.stderr)
    empty = len(written.missing)
    print(f"{printable(str(out))}: {written.labelled} images labelled, {empty} left empty")
    print(DISCLAIMER)
