"""`coronet preview`."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.atomic import staged


def preview(
    image: Annotated[Path, typer.Argument(help="An X-ray: JPEG, PNG, TIFF, BMP or DICOM.")],
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("preview.png"),
    size: Annotated[
        int, typer.Option(help="Preset size in pixels, the longer side.", min=8, max=4096)
    ] = 200,
    aspect: Annotated[
        float,
        typer.Option(
            help="Height / width of the rectangle of methods B and C; a run takes it from the "
            "means over its training images.",
            min=0.1,
            max=10,
        ),
    ] = 0.77,
    clip_limit: Annotated[float, typer.Option(help="CLAHE's clip limit.", min=0)] = 2.0,
) -> None:
    """Draw one X-ray through every preprocessing method, with and without CLAHE."""
    from components.ingestion.names import printable
    from components.ingestion.readers import read
    from components.ingestion.refusals import RefusedError
    from components.ingestion.settings import DataSettings
    from models.errors import InputError
    from pipeline.quiet import hush

    if not out.name:
        raise InputError(f"cannot write {out}: it is a folder; choose another --out")
    hush()
    from pipeline.preview import draw, panels

    try:
        pixels = read(image.read_bytes(), DataSettings()).pixels
    except OSError as error:
        raise InputError(f"cannot read the image {image}: {error.strerror}") from error
    except RefusedError as error:
        raise InputError(
            f"{image} is no X-ray that a run would accept: {error.reason.value}, {error.detail}"
        ) from error
    page = draw(panels(pixels, size, aspect, clip_limit), title=image.name)
    try:
        with staged(out) as file:
            file.write_bytes(page)
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror}; choose another --out") from error
    print(f"{printable(str(out))}: the original and methods A to D, with and without CLAHE")
