"""The `coronet` command line.

Each command lives in a module of its own below `pipeline.commands`, and imports what is
heavy only when it is called: `coronet --help` must not pay for TensorFlow.
"""

import importlib
import sys
import warnings
from typing import Annotated

import typer

from models.errors import InputError
from models.features import DISCLAIMER
from pipeline import revision
from pipeline.errors import RunFailedError

# In the order in which a newcomer meets them.
COMMANDS = (
    "sample",
    "run",
    "preview",
    "report",
    "compare",
    "crossval",
    "tune",
    "reproduce",
    "predict",
    "serve",
    "submit",
    "check",
    "kubeflow",
)

RUN_FAILED = 1
USAGE_ERROR = 2


def _show(version: bool) -> None:
    if version:
        typer.echo(f"coronet {revision.current()}")
        raise typer.Exit


def build_app() -> typer.Typer:
    """Returns the typer application with every command."""
    app = typer.Typer(
        name="coronet",
        callback=_options,
        help=f"Classify chest X-rays as normal, bacterial, viral or covid. {DISCLAIMER}",
        no_args_is_help=True,
        rich_markup_mode="markdown",  # otherwise it keeps the lines of a docstring as they are
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name in COMMANDS:
        module = importlib.import_module(f"pipeline.commands.{name}")
        command = getattr(module, name)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name=name)(command)
    return app


def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show),
    ] = False,
) -> None:
    """What `coronet` takes without a command; the one option has ended the program by now."""


def main() -> None:
    """Entry point: runs the command; a user's error is one message and exit status 2."""
    # Google's libraries announce by the dozen that they will drop Python 3.10; the
    # interpreter is ours to choose, in .python-version.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.|tfx|keras")
    try:
        build_app()()
    except InputError as error:
        print(f"coronet: {error}", file=sys.stderr)
        sys.exit(USAGE_ERROR)
    except RunFailedError as error:
        print(f"coronet: {error}\nThe run's log (logs/run.log) has the traceback.", file=sys.stderr)
        sys.exit(RUN_FAILED)
