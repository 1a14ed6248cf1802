"""What ``bisect`` found: the report, tables on a terminal, and files for people and machines."""

from pathlib import Path
from typing import TYPE_CHECKING

from parity.bisection.schema import BisectData
from parity.report import write_files

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["BisectReport", "print_report"]

FILES = {"json": "bisect.json", "html": "bisect.html"}


class BisectReport(BisectData):
    """One bundle on one runtime against PyTorch, op by op."""

    def save(self, folder: str | Path) -> dict[str, Path]:
        """Write ``bisect.json`` and ``bisect.html``, each whole or not at all.

        Args:
            folder: created if it does not exist; earlier reports in it are replaced.

        Returns:
            The files by kind: ``json``, ``html``.

        Raises:
            InputError: the folder cannot be written.
            MissingDependencyError: Jinja2 or matplotlib is not installed.
        """
        from parity.bisection.report.page import html

        contents = {
            "json": (self.model_dump_json(indent=2) + "\n").encode(),
            "html": html(self).encode(),
        }
        return write_files(Path(folder), FILES, contents)


def print_report(report: BisectData, console: "Console", top: int | None = 10) -> None:
    """Print the worst ops of each file, or all in order, and the conclusion as the last line.

    Args:
        report: what was found.
        console: where to print.
        top: number of ops to print of each file; None prints all.
    """
    from parity.bisection.report.terminal import print_tables

    print_tables(report, console, top)
