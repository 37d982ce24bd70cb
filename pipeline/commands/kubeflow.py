"""`coronet kubeflow`: compile the DAG for a cluster, run it there, look at the runs."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.commands.options import (
    BeamRunnerOption,
    ConfigOption,
    ModelOption,
    PresetOption,
    SetOption,
    load_settings,
)

if TYPE_CHECKING:
    from kubeflow.submission import Progress
    from pipeline.config import Config

RUN_FAILED = 1

kubeflow = typer.Typer(help="Run the same pipeline on Kubeflow Pipelines v2.", no_args_is_help=True)

EndpointOption = Annotated[
    str | None,
    typer.Option(
        help="URL of the server; else the kubeconfig's cluster. Credentials come from the "
        "environment only: CORONET_KFP_TOKEN, or what the KFP client reads."
    ),
]
NamespaceOption = Annotated[str | None, typer.Option(help="On servers with many users.")]


@kubeflow.command(name="compile")
def compile_(
    out: Annotated[Path, typer.Option(help="File to write: .yaml, .yml or .json.")],
    model: ModelOption = None,
    preset: PresetOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    beam_runner: BeamRunnerOption = None,
) -> None:
    """Compile the pipeline to a KFP v2 specification. Needs no cluster."""
    from pipeline.quiet import hush

    hush()
    from kubeflow import runner

    settings = load_settings(model, preset, config, set_, beam_runner)
    spec = _compile(settings)
    runner.write_specification(spec, out)
    typer.echo(f"specification  {out}")
    for parameter in runner.runtime_parameters(settings):
        default = "" if parameter.default is None else f" [{parameter.default}]"
        typer.echo(f"  {parameter.name:<16} {parameter.description}{default}")


@kubeflow.command()
def submit(
    data_root: Annotated[str, typer.Option(help="Labelled images, as gs://bucket/folder.")],
    output_root: Annotated[str, typer.Option(help="Everything a run writes, as gs://bucket/x.")],
    endpoint: EndpointOption = None,
    model: ModelOption = None,
    preset: PresetOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    beam_runner: BeamRunnerOption = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--param", help="Runtime parameter as name=value; repeatable."),
    ] = None,
    data_digest: Annotated[
        str | None, typer.Option(help="Changes with the data; read from the data by default.")
    ] = None,
    run_name: Annotated[str | None, typer.Option(help="Name of the run.")] = None,
    namespace: NamespaceOption = None,
    wait: Annotated[bool, typer.Option(help="Follow the run until it ends.")] = True,
) -> None:
    """Compile, upload (or reuse) the version, start a run, and follow it.

    Exit status: 0 the run succeeded (or was started, with --no-wait), 1 it did not, 2 bad
    input.
    """
    from pipeline.quiet import hush

    hush()
    from components.ingestion.fingerprint import fingerprint
    from kubeflow import runner, submission

    settings = load_settings(model, preset, config, set_, beam_runner)
    submission.check_remote("--data-root", data_root)
    submission.check_remote("--output-root", output_root)
    server = submission.Server(endpoint, namespace)
    spec = _compile(settings)
    values = submission.run_parameters(
        spec,
        {
            "data_root": data_root,
            "output_root": output_root,
            "data_digest": data_digest or fingerprint(data_root),
            **_pairs(parameter or []),
        },
    )
    runner.check_values(settings, values)
    pipeline_id, version_id = server.upload(spec)
    started = server.start(
        pipeline_id,
        version_id,
        name=run_name or f"{settings.name} {version_id[:8]}",
        parameters=values,
        pipeline_root=f"{output_root.rstrip('/')}/artifacts",
    )
    typer.echo(f"run   {started.run_id}")
    typer.echo(f"link  {started.link}")
    if wait:
        ended = server.wait(started.run_id, _report_changes())
        _fail_unless_succeeded(ended)


@kubeflow.command()
def status(
    run_id: Annotated[
        str | None, typer.Argument(help="A run's id; else the newest runs are listed.")
    ] = None,
    endpoint: EndpointOption = None,
    namespace: NamespaceOption = None,
    count: Annotated[int, typer.Option(min=1, max=100, help="How many runs to list.")] = 10,
) -> None:
    """Show a run and its tasks, or list the newest runs."""
    from kubeflow import submission

    server = submission.Server(endpoint, namespace)
    if run_id is None:
        for progress in server.latest(count):
            typer.echo(f"{progress.run_id}  {progress.state:<10} {progress.name}")
        return
    progress = server.progress(run_id)
    typer.echo(f"{progress.name}  {progress.state}  {progress.link}")
    for task, state in progress.tasks.items():
        typer.echo(f"  {task:<28} {state}")
    if progress.error:
        typer.echo(progress.error)


def _compile(settings: "Config") -> dict[str, Any]:
    from rich.console import Console

    from pipeline import revision

    with Console(stderr=True).status("loading TFX"):
        from kubeflow import runner
    return runner.compile_specification(settings, revision.current())


def _pairs(parameters: list[str]) -> dict[str, str]:
    from models.errors import InputError

    pairs = {}
    for parameter in parameters:
        name, separator, value = parameter.partition("=")
        if not separator:
            raise InputError(f"--param takes name=value, as in threshold=0.85; got {parameter!r}")
        pairs[name] = value
    return pairs


def _report_changes() -> Callable[["Progress"], None]:
    """Returns what prints each new state of the run and of its tasks, once."""
    seen: dict[str, str] = {}

    def report(progress: "Progress") -> None:
        for name, state in {**progress.tasks, "run": progress.state}.items():
            if seen.get(name) != state:
                seen[name] = state
                typer.echo(f"  {name:<28} {state}")

    return report


def _fail_unless_succeeded(progress: "Progress") -> None:
    if progress.state != "SUCCEEDED":
        typer.echo(f"the run ended as {progress.state}: {progress.error or progress.link}")
        raise typer.Exit(RUN_FAILED)
