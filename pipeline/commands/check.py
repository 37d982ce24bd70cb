"""`coronet check`."""

from pathlib import Path
from typing import Annotated

import typer

DOES_NOT_FIT = 3
SHOWN = 20


def check(
    bundle: Annotated[Path, typer.Argument(help="The push/ folder of a run.")],
    folder: Annotated[Path, typer.Argument(help="Images, with or without labels.")],
    max_bad: Annotated[
        float, typer.Option(help="Acceptable share of unreadable images.", min=0, max=1)
    ] = 0.01,
    max_unfamiliar: Annotated[
        float, typer.Option(help="Acceptable share of unfamiliar images.", min=0, max=1)
    ] = 0.1,
    details: Annotated[
        Path | None, typer.Option(help="JSON file for everything that was found.")
    ] = None,
) -> None:
    """Check whether a folder of images is like the data that a bundle was trained on.

    Looks for unreadable images, schema anomalies, skew against the training statistics and
    images unlike the training images. Exit status: 0 it fits; 3 it does not; 2 bad input.
    """
    import json
    import logging

    from rich.console import Console
    from rich.markup import escape

    from components.ingestion.names import printable
    from components.ingestion.refusals import listing
    from models.errors import InputError
    from models.features import DISCLAIMER
    from pipeline.atomic import write_text
    from pipeline.quiet import hush

    if details is not None and not details.name:
        raise InputError(f"--details {details} is a folder: name a file")
    hush()

    # TFDV's own use of deprecated TensorFlow is nothing that a user could change.
    for library in ("tensorflow", "apache_beam", "absl"):
        logging.getLogger(library).setLevel(logging.ERROR)
    console = Console(markup=False, highlight=False, soft_wrap=True, emoji=False)
    with console.status("loading TensorFlow"):
        from pipeline import checking
    with console.status(f"reading {escape(printable(str(folder)))}"):
        result = checking.check(bundle, folder, max_bad, max_unfamiliar)
    console.print(f"images      {result.images} readable, {len(result.refused)} refused")
    if result.refused:
        console.print(listing(result.refused, SHOWN))
    for finding in result.findings:
        console.print(f"finding     {finding}")
    if result.unfamiliar is None:
        console.print("unfamiliar  not measured: the bundle has no edge build")
    else:
        console.print(f"unfamiliar  {len(result.unfamiliar)} ({result.unfamiliar_share:.1%})")
        for name in result.unfamiliar[:SHOWN]:
            console.print(f"  {printable(name)}")
        shares = ", ".join(f"{count} {name}" for name, count in result.predicted.items())
        console.print(f"predicted   {shares}")
        console.print(DISCLAIMER)
    console.print("verdict     it fits" if result.fits else "verdict     it does not fit")
    if details is not None:  # after what it would cost to lose
        try:
            write_text(details, json.dumps(result.to_dict(), indent=2) + "\n")
        except OSError as error:
            raise InputError(
                f"cannot write {details}: {error.strerror}; choose another --details"
            ) from error
    if not result.fits:
        raise typer.Exit(DOES_NOT_FIT)
