"""Runtime parameters: what a run of the compiled pipeline may change without compiling again.

TFX's compiler passes a parameter only where it is a node's whole property, and forgets its
default (tensorflow/tfx#7733). Most of ours are inside a property: the epochs are in the
Trainer's JSON, the threshold in the Evaluator's. So a property holds a marker, `@{name}`,
the node also receives the parameter's value, and `kubeflow.entrypoint` puts the one into
the other before TFX sees either.

KFP's own `{{$.inputs.parameters['name']}}` would do for some; but its launcher replaces
text, which knows nothing of quotes, and older ones replace in a random order.

Nothing here imports TFX: every container starts with it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

STRING: Literal["STRING"] = "STRING"
INTEGER: Literal["NUMBER_INTEGER"] = "NUMBER_INTEGER"
DOUBLE: Literal["NUMBER_DOUBLE"] = "NUMBER_DOUBLE"

# What a node's input of that kind is called, so that no property has the same name.
INPUT_PREFIX = "runtime-"

_MARKER = re.compile(r"@\{([a-z_]+)(?:([+-])([0-9.e-]+))?\}")


@dataclass(frozen=True)
class RuntimeParameter:
    """One parameter of the compiled pipeline.

    Attributes:
        name: as users of the pipeline see it.
        type: one of KFP's `ParameterType`.
        default: None where a run must give it.
        description: for the form that KFP shows.
    """

    name: str
    type: Literal["STRING", "NUMBER_INTEGER", "NUMBER_DOUBLE"]
    default: str | int | float | None
    description: str


def marker(name: str, offset: float = 0) -> str:
    """Returns the text that stands for parameter `name`, or for its number plus `offset`."""
    return f"@{{{name}{offset:+}}}" if offset else f"@{{{name}}}"


def names_in(text: str) -> set[str]:
    """Returns the parameters that `text` has markers of."""
    return {match.group(1) for match in _MARKER.finditer(text)}


def fill(text: str, values: Mapping[str, Any]) -> str:
    """Replaces the markers in `text` by `values`.

    Inside JSON, and JSON inside a string of JSON, a string that is nothing but a marker
    becomes a value of the parameter's own type, properly quoted.

    Raises:
        KeyError: a marker names no parameter among `values`.
    """
    if not _MARKER.search(text):
        return text
    try:
        document = json.loads(text)
    except json.JSONDecodeError:
        document = text
    if isinstance(document, dict | list):
        return json.dumps(_fill_document(document, values))
    return _MARKER.sub(lambda match: str(_value(match, values)), text)


def _fill_document(node: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(node, dict):
        return {key: _fill_document(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [_fill_document(item, values) for item in node]
    if isinstance(node, str):
        match = _MARKER.fullmatch(node)
        return _value(match, values) if match else fill(node, values)
    return node


def _value(match: re.Match[str], values: Mapping[str, Any]) -> Any:
    name, sign, offset = match.groups()
    value = values[name]
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # KFP has one kind of number
    return value + float(sign + offset) if offset else value
