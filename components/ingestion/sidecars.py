"""Sidecars: `image.dcm` is described by `image.dcm.json` or `image.json` beside it."""

import json
import os
from dataclasses import replace
from posixpath import basename
from typing import Any

from components.ingestion import storage
from components.ingestion.fields import field_text
from components.ingestion.references import Reference
from components.ingestion.refusals import Reason, RefusedError
from components.ingestion.settings import DataSettings

MAX_BYTES = 1 << 20


def describe(reference: Reference, root: str, settings: DataSettings) -> Reference:
    """Returns `reference` with the label, patient and source that its sidecar gives.

    Raises:
        RefusedError: there is no sidecar, it is not a JSON object, or it has no label.
    """
    if reference.member:
        raise RefusedError(Reason.BAD_SIDECAR, "sidecars inside archives are not read")
    path = f"{reference.container}.json"
    if not storage.exists(path):  # names without a suffix may have dots: 1.2.840.1
        path = f"{os.path.splitext(reference.container)[0]}.json"
    name = basename(path)
    try:
        with storage.open_binary(path, root) as file:
            content: Any = json.loads(storage.read_bounded(file, MAX_BYTES))
    except RefusedError as refused:
        raise RefusedError(Reason.BAD_SIDECAR, f"sidecar {name}: {refused.detail}") from refused
    except (ValueError, RecursionError) as error:
        raise RefusedError(Reason.BAD_SIDECAR, f"sidecar {name} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise RefusedError(Reason.BAD_SIDECAR, f"sidecar {name} is not a JSON object")
    fields = {str(key).casefold(): value for key, value in content.items()}

    def text(column: str) -> str:
        return field_text(fields.get(column.casefold()))

    return replace(
        reference,
        label=text(settings.label_column),
        patient=text(settings.patient_column),
        source=text(settings.source_column),
    )
