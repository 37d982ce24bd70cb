"""`coronet report`."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="The --output folder of a run.")],
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Write it again, from ML Metadata.")
    ] = False,
) -> None:
    """Say where a run's report is; write it again if it is missing, or on request."""
    page = run / "report" / "index.html"
    if rebuild or not page.is_file():
        from pipeline.quiet import hush

        hush()
        from pipeline.reporting import rebuild_report

        rebuild_report(run)
    print(page.resolve())
