"""`coronet predict`."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.bundles import require_bundle


def predict(
    bundle: Annotated[Path, typer.Argument(help="push/ folder of a run, or its edge/ folder.")],
    images: Annotated[
        list[Path], typer.Argument(help="JPEG, PNG, BMP, GIF or DICOM files, or folders of them.")
    ],
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    explain: Annotated[
        Path | None, typer.Option(help="Folder for pictures of what each answer rests on.")
    ] = None,
    threads: Annotated[int, typer.Option(help="CPU threads of one prediction.")] = 1,
) -> None:
    """Classify images with the quantized model, without TensorFlow.

    Exit status: 0 every image was classified; 1 some could not be read; 2 the bundle cannot
    be used, or there was no image.
    """
    from edge import EdgeError, predicting
    from models.errors import InputError

    try:
        status = predicting.predict(require_bundle(bundle), images, json, explain, threads)
    except EdgeError as error:
        raise InputError(str(error)) from error
    raise typer.Exit(status)
