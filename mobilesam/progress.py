"""Progress on the terminal, or none, behind one small interface."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVar

import rich.console
import rich.progress
import rich.text

Item = TypeVar("Item")
Step = Callable[[str], None]
"""Called with what is being done as each step begins."""


class Progress:
    """Bars on the terminal while the ``with`` block runs.

    Args:
        enabled: False shows nothing.
        stderr: show it on stderr, where stdout is the command's result.
        columns: of each bar, where others are wanted.
    """

    def __init__(
        self,
        enabled: bool,
        *,
        stderr: bool = False,
        columns: Sequence[rich.progress.ProgressColumn] = (),
    ) -> None:
        self._bars = rich.progress.Progress(
            *(columns or _columns()),
            console=rich.console.Console(stderr=stderr),
            disable=not enabled,
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self._bars.stop()
        else:
            self._bars.live.transient = True  # nothing stays to be read but the error
            self._bars.live.stop()

    @contextmanager
    def task(self, title: str, steps: int, done: int = 0) -> Iterator[Step]:
        """A bar of its own; what is yielded is called as each step begins.

        Args:
            title: what is being done.
            steps: how many there are.
            done: how many of them were done before.
        """
        bar = self._bars.add_task(title, total=steps, completed=done, now="")
        begun = done

        def step(now: str) -> None:
            nonlocal begun
            self._bars.update(bar, completed=begun, now=now)
            begun += 1

        yield step
        self._bars.update(bar, completed=begun, now="")

    def track(self, items: Sequence[Item], title: str) -> Iterator[Item]:
        """The items, with a bar that says how many of them were taken."""
        with self.task(title, len(items)) as step:
            for item in items:
                step("")
                yield item


class _Rate(rich.progress.ProgressColumn):
    """Steps a second, lately."""

    def render(self, task: rich.progress.Task) -> rich.text.Text:
        speed = task.finished_speed or task.speed
        return rich.text.Text("" if speed is None else f"{speed:.3g}/s")


def rate_columns() -> list[rich.progress.ProgressColumn]:
    """Columns for long runs: also how many steps a second, and how much time is left."""
    return [*_columns()[:-2], _Rate(), rich.progress.TimeRemainingColumn(), *_columns()[-2:]]


def _columns() -> list[rich.progress.ProgressColumn]:
    return [
        rich.progress.TextColumn("{task.description}", markup=False),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeElapsedColumn(),
        rich.progress.TextColumn("{task.fields[now]}", markup=False),
    ]
