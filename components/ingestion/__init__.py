"""X-rays in, tf.Examples out: the pipeline's custom ExampleGen.

The names below load on first use, so that reading the settings or checking a folder
does not pay for importing TFX.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from components.ingestion.component import XrayExampleGen
    from components.ingestion.preflight import Preflight, preflight
    from components.ingestion.schema import SCHEMA_FILE
    from components.ingestion.settings import DataSettings
    from components.ingestion.storage import fingerprint

_HOMES = {
    "SCHEMA_FILE": "components.ingestion.schema",
    "DataSettings": "components.ingestion.settings",
    "Preflight": "components.ingestion.preflight",
    "XrayExampleGen": "components.ingestion.component",
    "fingerprint": "components.ingestion.storage",
    "preflight": "components.ingestion.preflight",
}

__all__ = [
    "SCHEMA_FILE",
    "DataSettings",
    "Preflight",
    "XrayExampleGen",
    "fingerprint",
    "preflight",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
