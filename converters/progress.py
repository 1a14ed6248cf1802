"""Progress of several exports at once, one line a bundle."""

from collections.abc import Iterable

from rich.progress import SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from mobilesam.progress import Progress


class BundleProgress(Progress):
    """One line a bundle on standard error, or nothing at all.

    Args:
        names: bundles, in the order to be shown.
        enabled: False shows nothing.
    """

    def __init__(self, names: Iterable[str], *, enabled: bool) -> None:
        columns = [
            SpinnerColumn(finished_text="·"),
            TextColumn("{task.description}"),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
        ]
        super().__init__(enabled, stderr=True, columns=columns)
        self._tasks: dict[str, TaskID] = {
            name: self._bars.add_task(name, start=False, total=1, status="[dim]waiting")
            for name in names
        }

    def start(self, name: str) -> None:
        """Show that a bundle is being converted."""
        self._bars.start_task(self._tasks[name])
        self._bars.update(self._tasks[name], status="converting")

    def finish(self, name: str, status: str) -> None:
        """Show how a bundle ended."""
        self._bars.update(self._tasks[name], completed=1, status=status)

    def show_log(self, name: str, tail: str) -> None:
        """Print the end of a failed conversion's log."""
        if self._bars.disable:
            return
        console = self._bars.console
        console.rule(f"last lines of the log of {name}")
        console.print(tail, markup=False, highlight=False)
        console.rule()
