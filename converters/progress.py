"""Progress of several exports at once, one line a bundle."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class BundleProgress:
    """Lines on standard error, or nothing at all.

    Args:
        names: bundles, in the order to be shown.
        enabled: False shows nothing.
    """

    def __init__(self, names: list[str], *, enabled: bool) -> None:
        self._console = Console(stderr=True, quiet=not enabled)
        self._progress = Progress(
            SpinnerColumn(finished_text="·"),
            TextColumn("{task.description}"),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            console=self._console,
        )
        self._tasks: dict[str, TaskID] = {
            name: self._progress.add_task(name, start=False, total=1, status="[dim]waiting")
            for name in names
        }

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def start(self, name: str) -> None:
        """A bundle's turn has come."""
        self._progress.start_task(self._tasks[name])
        self._progress.update(self._tasks[name], status="converting")

    def finish(self, name: str, status: str) -> None:
        """A bundle is done."""
        self._progress.update(self._tasks[name], completed=1, status=status)

    def show_log(self, name: str, tail: str) -> None:
        """The end of a failed conversion's log."""
        self._console.rule(f"last lines of the log of {name}")
        self._console.print(tail, markup=False, highlight=False)
        self._console.rule()
