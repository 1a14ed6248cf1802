"""Progress of a run on the terminal."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    track,
)

_SHOWN = ("loss", "iou_point", "iou_box")
Item = TypeVar("Item")
Row = Mapping[str, float | int]


@contextmanager
def training_bar(console: Console | None, total: int) -> Iterator[Callable[[Row], None]]:
    """A bar over the steps of a run; the function it gives takes the logged row of a step."""
    if console is None:
        yield lambda row: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[numbers]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("training", total=total, numbers="")

        def show(row: Row) -> None:
            shown = [f"{row['image_size']} px"]
            shown += [f"{key} {row[key]:.3f}" for key in _SHOWN if key in row]
            progress.update(task, completed=row["step"] + 1, numbers="  ".join(shown))

        yield show


def tracked(console: Console | None) -> Callable[[Sequence[Item], str], Iterable[Item]]:
    """A function that wraps a sequence to show how far the work on it has come."""

    def wrap(items: Sequence[Item], what: str) -> Iterable[Item]:
        return items if console is None else track(items, what, console=console, transient=True)

    return wrap
