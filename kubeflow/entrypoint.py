"""What each container runs: TFX's own entry point, given what it expects.

    python -m kubeflow.entrypoint --executor_class_path ... --json_serialized_invocation_args ...

TFX wrote its entry point for Vertex AI. Three things differ on open-source Kubeflow:

- the driver gives an input artifact's name, URI and metadata but not its type (its
  `toRuntimeArtifact` sets none), without which TFX cannot make the artifact: it is added
  here from the component's own definition of its inputs;
- the driver wants the executor's output in a file of the container, and TFX puts its
  temporary files beside that file, where Beam's workers on other machines do not see them:
  TFX gets a file beside the output artifacts, which is copied to where the driver looks;
- runtime parameters inside a property are filled in here; see `kubeflow.parameters`.
"""

import json
import posixpath
import runpy
import sys
from pathlib import Path
from typing import Any

from components.beam_runner import use_in_process_runner
from kubeflow.parameters import INPUT_PREFIX, fill

TFX_ENTRYPOINT = "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"
INVOCATION = "--json_serialized_invocation_args"
INPUTS_SPEC = "--json_serialized_inputs_spec_args"


def complete(invocation: dict[str, Any], inputs_spec: dict[str, Any]) -> dict[str, Any]:
    """Returns `invocation` as TFX's entry point expects it.

    Args:
        invocation: a KFP `ExecutorInput`, as JSON.
        inputs_spec: the component's `ComponentInputsSpec`, as JSON.
    """
    inputs = dict(invocation.get("inputs", {}))
    parameters = inputs.get("parameterValues", {})
    runtime = {
        name.removeprefix(INPUT_PREFIX): value
        for name, value in parameters.items()
        if name.startswith(INPUT_PREFIX)
    }
    inputs["parameterValues"] = {
        name: fill(value, runtime) if isinstance(value, str) else value
        for name, value in parameters.items()
        if not name.startswith(INPUT_PREFIX)
    }
    inputs["artifacts"] = {
        name: {
            "artifacts": [
                {"type": inputs_spec["artifacts"][name]["artifactType"], **artifact}
                for artifact in listed.get("artifacts", [])
            ]
        }
        for name, listed in inputs.get("artifacts", {}).items()
    }
    return {**invocation, "inputs": inputs}


def shared_output_file(outputs: dict[str, Any]) -> str | None:
    """Returns a file beside the artifacts in `outputs`; None where there is no artifact."""
    uris = [
        artifact["uri"]
        for _, listed in sorted(outputs.get("artifacts", {}).items())
        for artifact in listed["artifacts"]
    ]
    if not uris:
        return None
    return posixpath.join(posixpath.dirname(uris[0].rstrip("/")), "executor", "output.json")


def main(arguments: list[str]) -> None:
    """Completes the invocation in `arguments`, then becomes TFX's entry point."""
    place = arguments.index(INVOCATION) + 1
    inputs_spec = json.loads(arguments[arguments.index(INPUTS_SPEC) + 1])
    completed = complete(json.loads(arguments[place]), inputs_spec)
    outputs = completed["outputs"]
    expected = outputs["outputFile"]
    written = shared_output_file(outputs) or expected
    completed["outputs"] = {**outputs, "outputFile": written}
    sys.argv[1:] = [*arguments[:place], json.dumps(completed), *arguments[place + 1 :]]
    use_in_process_runner()
    try:
        runpy.run_module(TFX_ENTRYPOINT, run_name="__main__", alter_sys=True)
    except SystemExit as end:  # how absl's main ends, well or not
        if end.code:
            raise
    if written != expected:
        _bring_home(written, expected)


def _bring_home(written: str, expected: str) -> None:
    """Copies the executor's output to the container's own disk."""
    from tfx.dsl.io import fileio

    Path(expected).parent.mkdir(parents=True, exist_ok=True)
    with fileio.open(written, "r") as file:
        Path(expected).write_text(file.read(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
