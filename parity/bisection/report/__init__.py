"""What was found, on a terminal, and as files for people and for machines."""

from pathlib import Path
from typing import TYPE_CHECKING

from parity.bisection.schema import BisectReport
from parity.report import write_files

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_report", "write_report"]

FILES = {"json": "bisect.json", "html": "bisect.html"}


def write_report(report: BisectReport, folder: Path) -> dict[str, Path]:
    """Write ``bisect.json`` and ``bisect.html``, each whole or not at all.

    Args:
        report: what was found.
        folder: created if it does not exist; earlier reports in it are replaced.

    Returns:
        The files by kind: ``json``, ``html``.

    Raises:
        InputError: the folder cannot be written.
        MissingDependencyError: Jinja2 or matplotlib is not installed.
    """
    from parity.bisection.report.page import html

    contents = {
        "json": (report.model_dump_json(indent=2) + "\n").encode(),
        "html": html(report).encode(),
    }
    return write_files(folder, FILES, contents)


def print_report(report: BisectReport, console: "Console", top: int | None = 10) -> None:
    """Print the worst ops of each file, or all in order, and the conclusion as the last line.

    Args:
        top: so many ops of each file; None prints all.
    """
    from parity.bisection.report.terminal import print_tables

    print_tables(report, console, top)
