"""From what TFX compiles to what Kubeflow Pipelines runs.

TFX's compiler writes KFP's intermediate representation with Vertex AI in mind. Here it is
completed for the open-source backend: names that Argo accepts, runtime parameters with
their defaults, retries. Everything works on the specification as plain JSON.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from kubeflow.parameters import INPUT_PREFIX, RuntimeParameter, marker, names_in

Json = dict[str, Any]

RETRY_BACKOFF = {"backoffDuration": "30s", "backoffFactor": 2.0, "backoffMaxDuration": "600s"}


def task_name(node_id: str) -> str:
    """Returns a name that Argo accepts, such as `trainer-svm` for `Trainer.svm`.

    It is the display name too: where the two differ, KFP's driver does not find the
    producers of an input (kubeflow/pipelines#8171 and #11173).
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", node_id)
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def rename(spec: Json) -> Json:
    """Returns `spec` with every task, component and executor under an Argo-compatible name."""
    tasks = {}
    for node_id, task in spec["root"]["dag"]["tasks"].items():
        inputs = task.get("inputs", {})
        for artifact in inputs.get("artifacts", {}).values():
            source = artifact["taskOutputArtifact"]
            source["producerTask"] = task_name(source["producerTask"])
        tasks[task_name(node_id)] = {
            **task,
            "taskInfo": {"name": task_name(node_id)},
            "componentRef": {"name": f"comp-{task_name(task['componentRef']['name'])}"},
            "dependentTasks": sorted(task_name(name) for name in task.get("dependentTasks", [])),
        }
    components = {
        f"comp-{task_name(node_id)}": {
            **component,
            "executorLabel": _executor_label(component["executorLabel"]),
        }
        for node_id, component in spec["components"].items()
    }
    executors = {
        _executor_label(label): executor
        for label, executor in spec["deploymentSpec"]["executors"].items()
    }
    return {
        **spec,
        "components": components,
        "deploymentSpec": {"executors": executors},
        "root": {**spec["root"], "dag": {"tasks": tasks}},
    }


def _executor_label(label: str) -> str:
    return f"exec-{task_name(label.removesuffix('_executor'))}"


def edit_property(spec: Json, task: str, name: str, edit: Callable[[Any], Any]) -> None:
    """Replaces the JSON in property `name` of `task` by what `edit` makes of it."""
    value = spec["root"]["dag"]["tasks"][task]["inputs"]["parameters"][name]["runtimeValue"]
    value["constant"] = json.dumps(edit(json.loads(value["constant"])), sort_keys=True)


def put_marker(document: Json, path: Sequence[str], parameter: RuntimeParameter) -> Json:
    """Puts `parameter` in place of the number at `path` in a JSON document.

    What is there may be off the parameter's default by a little (a bound is lowered by what
    rounding costs); it stays off by as much.

    Raises:
        KeyError: nothing is there.
    """
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = marker(parameter.name, round(parent[path[-1]] - parameter.default, 9))
    return document


def connect(spec: Json, parameters: Iterable[RuntimeParameter]) -> None:
    """Declares `parameters`, and hands each to the tasks whose properties have its marker.

    A property that is nothing but a marker takes the parameter directly.
    """
    known = {parameter.name: parameter for parameter in parameters}
    spec["root"]["inputDefinitions"] = {
        "parameters": {
            name: _without_none(
                {
                    "parameterType": parameter.type,
                    "defaultValue": parameter.default,
                    "description": parameter.description,
                }
            )
            for name, parameter in known.items()
        }
    }
    for task in spec["root"]["dag"]["tasks"].values():
        bindings = task.get("inputs", {}).get("parameters", {})
        definitions = spec["components"][task["componentRef"]["name"]].get("inputDefinitions", {})
        for name, binding in list(bindings.items()):
            constant = binding["runtimeValue"]["constant"]
            wanted = names_in(constant) if isinstance(constant, str) else set()
            if wanted and constant == marker(min(wanted)):
                bindings[name] = {"componentInputParameter": min(wanted)}
                continue
            for parameter_name in sorted(wanted):
                parameter = known[parameter_name]
                own_name = INPUT_PREFIX + parameter_name
                bindings[own_name] = {"componentInputParameter": parameter_name}
                definitions["parameters"][own_name] = {"parameterType": parameter.type}


def add_retries(spec: Json, retries: int) -> None:
    """Lets every task be tried `retries` times more, with growing pauses."""
    if retries:
        for task in spec["root"]["dag"]["tasks"].values():
            task["retryPolicy"] = {"maxRetryCount": retries, **RETRY_BACKOFF}


def never_cache(spec: Json, task: str) -> None:
    """Makes every run execute `task` anew."""
    spec["root"]["dag"]["tasks"][task]["cachingOptions"] = {}


def _without_none(document: Json) -> Json:
    return {key: value for key, value in document.items() if value is not None}
