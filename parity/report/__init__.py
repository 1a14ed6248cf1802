"""What the suite found, as a table on the terminal and as files for people and for machines."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mobilesam.errors import InputError
from mobilesam.files import write_whole
from parity.schema import ParityReport

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_report", "write_report"]

FILES = {
    "json": "report.json",
    "html": "report.html",
    "md": "report.md",
    "junit": "junit.xml",
}


def write_report(report: ParityReport, folder: Path) -> dict[str, Path]:
    """Write ``report.json``, ``report.html``, ``report.md`` and ``junit.xml``, each whole or not.

    Args:
        report: what the suite found.
        folder: created if it does not exist; earlier reports in it are replaced.

    Returns:
        The files by kind: ``json``, ``html``, ``md``, ``junit``.

    Raises:
        InputError: the folder cannot be written.
        MissingDependencyError: Jinja2 or matplotlib is not installed.
    """
    from parity.report.html import html
    from parity.report.junit import junit_xml
    from parity.report.markdown import markdown

    makers: dict[str, Callable[[], bytes]] = {
        "json": lambda: (report.model_dump_json(indent=2) + "\n").encode(),
        "html": lambda: html(report).encode(),
        "md": lambda: markdown(report).encode(),
        "junit": lambda: junit_xml(report),
    }
    # All are made before the first is written, so that an error leaves earlier files as they were.
    contents = {kind: make() for kind, make in makers.items()}
    return write_files(folder, FILES, contents)


def write_files(
    folder: Path, names: Mapping[str, str], contents: Mapping[str, bytes]
) -> dict[str, Path]:
    """Write files to a folder, each whole or not at all.

    Args:
        folder: created if it does not exist.
        names: of the files, by kind.
        contents: by kind.

    Raises:
        InputError: the folder cannot be written.
    """
    paths = {kind: folder / name for kind, name in names.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for kind, path in paths.items():
            write_whole(path, contents[kind])
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(
            f"the report cannot be written to '{folder}' ({reason}): give another folder"
        ) from None
    return paths


def print_report(report: ParityReport, console: "Console") -> None:
    """Print the overview of every bundle, why any failed, and the verdict as the last line."""
    from parity.report.terminal import print_table

    print_table(report, console)
