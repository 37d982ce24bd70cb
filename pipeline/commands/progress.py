"""How far a cross-validation is: a bar with the time left, and a line a fold."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.experiments.crossval import Progress
    from pipeline.experiments.results import FoldResult

Show = Callable[[str, "Progress"], None]
"""Takes the name of the experiment, and how far it is."""


@contextmanager
def shown(console: "Console") -> Iterator[Show]:
    """Yields a function that shows progress on `console`; the bars go when it is left."""
    from rich import progress as bars

    from pipeline.experiments.crossval import Preparing

    with bars.Progress(
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
        bars.TextColumn("{task.fields[left]}"),
        console=console,
    ) as progress:
        known: dict[str, bars.TaskID] = {}

        def show(section: str, now: "Progress") -> None:
            if section not in known:
                known[section] = progress.add_task(section, total=None, left="")
            if isinstance(now, Preparing):
                left = f"preparing images, set {now.done + 1} of {now.count}"
                progress.update(known[section], left=left)
                return
            left = "" if now.seconds_left is None else f"ETA {_duration(now.seconds_left)}"
            progress.update(known[section], completed=now.done, total=now.count, left=left)
            if now.result is not None:
                console.print(
                    _line(now.result, now.done, now.count, left), highlight=False, soft_wrap=True
                )

        yield show


def _line(result: "FoldResult", done: int, count: int, left: str) -> str:
    setup = result.setup
    name = " ".join(filter(None, (setup.model, setup.method, setup.threshold, setup.variant)))
    height, width = result.size
    return (
        f"  {done:>3}/{count}  {name}, {width} x {height}, fold {result.fold + 1}:"
        f" {result.accuracy:.3f} in {result.seconds:.0f} s  {left}"
    )


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
