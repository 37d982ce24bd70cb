"""Runs a compiled pipeline on this machine, node by node, and says how each one went."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import launcher, runtime_parameter_utils, tfx_runner
from tfx.proto.orchestration import pipeline_pb2

RUN_ID_PARAMETER = "pipeline-run-id"


@dataclass(frozen=True)
class NodeResult:
    """How one node went: wall time in seconds, and whether its cached output was taken."""

    node: str
    seconds: float
    cached: bool


class ProgressDagRunner(tfx_runner.IrBasedRunner):
    """TFX's LocalDagRunner with a caller who sees every node start and end.

    LocalDagRunner tells its progress to the log alone, and nowhere which nodes were
    cached. The loop is the same: nodes in topological order, one after the other.
    """

    def __init__(
        self,
        run_id: str,
        started: Callable[[str, int, int], None],
        finished: Callable[[NodeResult], None],
    ) -> None:
        """Prepares a run.

        Args:
            run_id: unique among the runs of the metadata store.
            started: called with the node's id, its number from 1, and how many there are.
            finished: called with the node's result, unless it failed.
        """
        self._run_id = run_id
        self._started = started
        self._finished = finished

    def run_with_ir(
        self,
        pipeline: pipeline_pb2.Pipeline,
        run_options: pipeline_pb2.RunOptions | None = None,
    ) -> None:
        """Runs `pipeline`; an exception of a node's executor passes through."""
        if run_options is not None:
            raise NotImplementedError("partial runs: use TFX's LocalDagRunner")
        runtime_parameter_utils.substitute_runtime_parameter(
            pipeline, {RUN_ID_PARAMETER: self._run_id}
        )
        deployment = runner_utils.extract_local_deployment_config(pipeline)
        connection = getattr(
            deployment.metadata_connection_config,
            deployment.metadata_connection_config.WhichOneof("connection_config"),
        )
        with _no_command_line():
            self._run_nodes(pipeline, deployment, connection)

    def _run_nodes(self, pipeline: pipeline_pb2.Pipeline, deployment: Any, connection: Any) -> None:
        for number, wrapped in enumerate(pipeline.nodes, start=1):
            node = wrapped.pipeline_node
            name = node.node_info.id
            self._started(name, number, len(pipeline.nodes))
            start = time.monotonic()
            execution = launcher.Launcher(
                pipeline_node=node,
                mlmd_connection=metadata.Metadata(connection),
                pipeline_info=pipeline.pipeline_info,
                pipeline_runtime_spec=pipeline.runtime_spec,
                executor_spec=runner_utils.extract_executor_spec(deployment, name),
                custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, name),
            ).launch()
            # Only an execution that really ran was given a place for its executor's output.
            # A resolver has none either, and looks anew each time.
            resolves = node.node_info.type.name.endswith(Resolver.__name__)
            cached = execution is not None and not execution.execution_output_uri and not resolves
            self._finished(NodeResult(name, time.monotonic() - start, cached))


@contextlib.contextmanager
def _no_command_line() -> Iterator[None]:
    """Hides this process's options from TFX, whose Beam executors take them for their own."""
    kept = sys.argv
    sys.argv = kept[:1]
    try:
        yield
    finally:
        sys.argv = kept
