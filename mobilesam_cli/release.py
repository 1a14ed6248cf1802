"""`mobilesam release`: bundles with all that their receivers need, in one folder."""

from pathlib import Path
from typing import Annotated

import typer

from mobilesam.errors import InputError
from mobilesam_cli.options import (
    Bundles,
    Photos,
    ReferenceWeights,
    WeightsKey,
    keyed,
    require_inputs,
    require_writable_folder,
)


def release(
    bundles: Bundles,
    out: Annotated[Path, typer.Option(help="Folder for the release.", show_default=False)],
    report: Annotated[
        Path | None,
        typer.Option(
            help="report.json of `mobilesam parity` on these bundles.",
            show_default="judge them now",
        ),
    ] = None,
    images: Photos = None,
    weights: ReferenceWeights = None,
    weights_key: WeightsKey = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure/--no-measure", help="Take latency and memory where they are judged now."
        ),
    ] = True,
    allow_failed: Annotated[
        bool, typer.Option("--allow-failed", help="Release bundles too that FAIL.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier release.")
    ] = False,
    web: Annotated[
        bool, typer.Option("--web/--no-web", help="Add the page of `mobilesam web`.")
    ] = True,
) -> None:
    """Write a folder for a GitHub or Hugging Face release.

    The bundles, SHA256SUMS, the parity report, golden masks, the page, a model card, and a page of
    code for Android, iOS, the web and Python.
    """
    if report is not None and images is not None:
        raise InputError("--images is for judging now: drop it, or --report")
    require_inputs(images=images, report=report)
    require_writable_folder(out)

    from parity.release import write_release

    names = write_release(
        bundles,
        out,
        report=report,
        images=images,
        weights=keyed(weights, weights_key),
        measure=measure,
        allow_failed=allow_failed,
        overwrite=overwrite,
        page=web,
        say=lambda now: typer.echo(now, err=True),
    )
    typer.echo(f"{out}: a release of {', '.join(names)}")
