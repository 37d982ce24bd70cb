"""`coronet compare`."""

from pathlib import Path
from typing import Annotated

import typer


def compare(
    runs: Annotated[list[Path], typer.Argument(help="The --output folders of runs.")],
) -> None:
    """Put the models of several runs into one table, from ML Metadata."""
    from rich.console import Console

    from pipeline.quiet import hush

    hush()
    from pipeline.comparison import candidates_of, table, warnings

    console = Console()
    with console.status("reading ML Metadata"):
        found = [candidate for run in runs for candidate in candidates_of(run)]
    console.print(table(found))
    for warning in warnings(found):
        console.print(warning, highlight=False)
