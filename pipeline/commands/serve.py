"""`coronet serve`."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.bundles import require_bundle


def serve(
    bundle: Annotated[Path, typer.Argument(help="push/ folder of a run, or its edge/ folder.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 8000,
    runtime: Annotated[
        str, typer.Option(help="Where inference runs: browser, python, or auto.")
    ] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads, with inference in Python.")] = 1,
) -> None:
    """Show a local web page that classifies an X-ray in the browser, offline."""
    from edge import EdgeError, server
    from models.errors import InputError

    try:
        server.serve(require_bundle(bundle), host, port, runtime, threads)
    except EdgeError as error:
        raise InputError(str(error)) from error
