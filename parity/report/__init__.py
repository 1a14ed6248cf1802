"""What a run found: the report, a table on the terminal, and files for people and machines."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import computed_field, model_validator

from mobilesam.errors import InputError
from mobilesam.files import write_whole
from parity.report.tradeoff import tradeoffs
from parity.schema import ReportData, Tradeoff

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Report", "print_report", "write_files"]

FILES = {
    "json": "report.json",
    "html": "report.html",
    "md": "report.md",
    "junit": "junit.xml",
}


class Report(ReportData):
    """One run over any number of bundles, as ``report.json`` has it.

    ``Report.model_validate_json(Path("report.json").read_text())`` reads one back, also of older
    versions.
    """

    @model_validator(mode="before")
    @classmethod
    def _without_derived(cls, values: Any) -> Any:
        if isinstance(values, dict):
            return {key: value for key, value in values.items() if key != "tradeoffs"}
        return values

    @computed_field  # type: ignore[prop-decorator]
    @property
    def tradeoffs(self) -> list[Tradeoff]:
        """One for each bundle and runtime, in their order; derived anew, never read from a file."""
        return tradeoffs(self.bundles)

    def save(self, folder: str | Path) -> dict[str, Path]:
        """Write ``report.json``, ``report.html``, ``report.md`` and ``junit.xml``.

        Each is written whole or not at all.

        Args:
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
            "json": lambda: (self.model_dump_json(indent=2) + "\n").encode(),
            "html": lambda: html(self).encode(),
            "md": lambda: markdown(self).encode(),
            "junit": lambda: junit_xml(self),
        }
        # All are made before the first is written, so that an error leaves earlier files alone.
        contents = {kind: make() for kind, make in makers.items()}
        return write_files(Path(folder), FILES, contents)


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


def print_report(report: ReportData, console: "Console") -> None:
    """Print the overview of every bundle, why any failed, and the verdict as the last line."""
    from parity.report.terminal import print_table

    print_table(report, console)
