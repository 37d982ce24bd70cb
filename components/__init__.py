"""CORONet's own TFX components, one folder each."""

from typing import Any

ARTIFACT_TYPES = ("DataVerdict", "EdgeModel", "Quarantine", "Report")


def __getattr__(name: str) -> Any:
    """Finds an artifact type by the name that Kubeflow knows it by; see `components.artifacts`.

    Imported when asked for: most of what is below this package does without TFX.
    """
    if name in ARTIFACT_TYPES:
        from components import artifacts

        return getattr(artifacts, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
