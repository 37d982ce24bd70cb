"""Runs a compiled pipeline specification the way Kubeflow Pipelines does, on this machine.

Follows the open-source backend (kubeflow/pipelines, backend/src/v2): its driver resolves
each task's inputs into an ExecutorInput (`resolveInputs`, `provisionOutputs`), its launcher
puts that into the container's command line (`compileCmdAndArgs`), starts it and reads the
ExecutorOutput back (`mergeRuntimeArtifacts`). The container becomes a local process; all
else that a task learns, it learns from the specification.
"""

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

Json = dict[str, Any]


class TaskFailedError(RuntimeError):
    """A task's process ended with another status than 0."""


@dataclass
class LocalBackend:
    """One run of `spec`.

    Attributes:
        spec: a KFP v2 `PipelineSpec` as JSON.
        parameters: values of the pipeline's parameters.
        root: where artifacts are written; KFP's pipeline root.
        workers: processes at the same time.
        outputs: what each finished task wrote, as runtime artifacts by task and key.
        command_lines: the command line of each task that was run.
    """

    spec: Json
    parameters: Mapping[str, str | int | float]
    root: Path
    workers: int = 1
    outputs: dict[str, dict[str, Json]] = field(default_factory=dict)
    command_lines: dict[str, list[str]] = field(default_factory=dict)
    # The driver names an artifact by its number in ML Metadata.
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def run(self, only: set[str] | None = None) -> None:
        """Runs every task, or those in `only`, each after what it depends on.

        Raises:
            TaskFailedError: a task failed; nothing more is started.
        """
        json_format.ParseDict(self.spec, pipeline_spec_pb2.PipelineSpec())
        tasks = self.spec["root"]["dag"]["tasks"]
        waiting = {name: task for name, task in tasks.items() if only is None or name in only}
        running: dict[Future[None], str] = {}
        with ThreadPoolExecutor(self.workers) as pool:
            while waiting or running:
                ready = [name for name, task in waiting.items() if self._is_ready(task)]
                assert ready or running, f"nothing can start: {sorted(waiting)}"
                for name in ready:
                    running[pool.submit(self._execute, name, waiting.pop(name))] = name
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    del running[future]
                    future.result()

    def folder(self, task: str, key: str) -> Path:
        """Returns where `task` wrote its output `key`."""
        return Path(self.outputs[task][key]["uri"])

    def _is_ready(self, task: Json) -> bool:
        return all(name in self.outputs for name in task.get("dependentTasks", []))

    def _execute(self, name: str, task: Json) -> None:
        component = self.spec["components"][task["componentRef"]["name"]]
        executor = self.spec["deploymentSpec"]["executors"][component["executorLabel"]]
        container = executor["container"]
        executor_input = {
            "inputs": self._resolve_inputs(task),
            "outputs": self._provision_outputs(name, component),
        }
        json_format.ParseDict(executor_input, pipeline_spec_pb2.ExecutorInput())
        command = [*container["command"], *container.get("args", [])]
        self.command_lines[name] = [_substitute(word, executor_input) for word in command]
        self._start(name)
        self.outputs[name] = _merge_outputs(name, executor_input["outputs"], self._ids)

    def _resolve_inputs(self, task: Json) -> Json:
        declared = self.spec["root"]["inputDefinitions"]["parameters"]
        values = {}
        for name, binding in task.get("inputs", {}).get("parameters", {}).items():
            if "componentInputParameter" in binding:
                parent = binding["componentInputParameter"]
                default = declared[parent].get("defaultValue")
                values[name] = self.parameters.get(parent, default)
                assert values[name] is not None, f"the run needs a value for {parent}"
            else:
                values[name] = binding["runtimeValue"]["constant"]
        artifacts = {}
        for name, binding in task.get("inputs", {}).get("artifacts", {}).items():
            source = binding["taskOutputArtifact"]
            written = self.outputs[source["producerTask"]][source["outputArtifactKey"]]
            # The driver reads them back from ML Metadata, without their type.
            artifacts[name] = {
                "artifacts": [{key: written[key] for key in ("name", "uri", "metadata")}]
            }
        return {"parameterValues": values, "artifacts": artifacts}

    def _provision_outputs(self, task: str, component: Json) -> Json:
        artifacts = {}
        for key, definition in component.get("outputDefinitions", {}).get("artifacts", {}).items():
            folder = self.root / task / key
            folder.mkdir(parents=True)  # object stores need no folders; a disk does
            artifacts[key] = {
                "artifacts": [
                    {
                        "uri": str(folder),
                        "type": definition["artifactType"],
                        "metadata": definition.get("metadata", {}),
                    }
                ]
            }
        output_file = self.root / "kfp_outputs" / task / "output_metadata.json"
        return {"artifacts": artifacts, "outputFile": str(output_file)}

    def _start(self, task: str) -> None:
        # The image has one interpreter, called python; it starts in no folder of ours.
        environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.root),
            "TF_CPP_MIN_LOG_LEVEL": "2",
        }
        log = self.root / "logs" / f"{task}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as file:
            process = subprocess.run(
                self.command_lines[task],
                cwd=log.parent,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if process.returncode != 0:
            raise TaskFailedError(f"{task} ended with {process.returncode}:\n{_tail(log)}")


def _substitute(word: str, executor_input: Json) -> str:
    """Fills placeholders in as the launcher does: the whole input first, then its parts."""
    word = word.replace("{{$}}", json.dumps(executor_input))
    for name, value in executor_input["inputs"]["parameterValues"].items():
        word = word.replace(f"{{{{$.inputs.parameters['{name}']}}}}", str(value))
    assert not re.search(r"\{\{\$\.\w+", word), f"a placeholder is left in {word[:200]}"
    return word


def _merge_outputs(task: str, provisioned: Json, ids: Iterator[int]) -> dict[str, Json]:
    """Returns the artifacts as provisioned, with what the container said about them."""
    said = json.loads(Path(provisioned["outputFile"]).read_text())
    json_format.ParseDict(said, pipeline_spec_pb2.ExecutorOutput())
    merged = {}
    for key, listed in provisioned["artifacts"].items():
        (artifact,) = listed["artifacts"]
        (reported,) = said["artifacts"][key]["artifacts"]
        metadata = {**artifact["metadata"], **reported.get("metadata", {})}
        # The launcher cannot store a null in ML Metadata, and fails.
        assert None not in metadata.values(), f"{task}.{key} has null in {metadata}"
        merged[key] = {
            "name": str(next(ids)),
            "uri": reported.get("uri") or artifact["uri"],
            "metadata": metadata,
        }
    return merged


def _tail(log: Path, lines: int = 40) -> str:
    return "\n".join(log.read_text().splitlines()[-lines:])
