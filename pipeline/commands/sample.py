"""`coronet sample`."""

from pathlib import Path
from typing import Annotated

import typer


def sample(
    folder: Annotated[Path, typer.Argument(help="Folder to write; made if it is missing.")],
    images: Annotated[
        int,
        typer.Option(
            help="How many; a run needs about 200, for covid to be in its test split.", min=40
        ),
    ] = 800,
    seed: Annotated[int, typer.Option(help="The same seed draws the same images.", min=0)] = 2020,
) -> None:
    """Draw synthetic chest phantoms, a labelled data set that needs no download."""
    from pipeline.sample import write_sample

    counts = write_sample(folder, images, seed)
    summary = ", ".join(f"{count} {label}" for label, count in counts.items())
    print(f"{folder}: {summary} (synthetic, not X-rays of people)")
