"""`mobilesam demo`: every target exported, judged and reported, with the demo weights."""

from pathlib import Path
from typing import Annotated

import typer

from mobilesam_cli.options import COMMAND_LINE, Json, Threads, require_writable_folder
from mobilesam_cli.parity import finish

SCHEMES = ("fp32", "fp16")
"""What can be shown in minutes; `make parity` goes through all."""


def demo(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder for the bundles.")] = Path("exports/demo"),
    report: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("reports/demo"),
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Export fp32 and fp16 of every target with the demo weights, judge them, write the report."""
    require_writable_folder(out)
    require_writable_folder(report)

    from converters import export
    from parity import compare

    results = export(schemes=SCHEMES, weights="demo", out=out, progress=not as_json)
    paths = [result.path for result in results]
    result = compare(
        paths,
        threads=threads,
        progress=not as_json,
        gallery=True,
        command=context.meta[COMMAND_LINE],
    )
    finish(result, report, as_json=as_json)
