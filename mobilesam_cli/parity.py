"""`mobilesam parity`: does what ships still draw PyTorch's masks?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilesam.bundle.compute_units import ComputeUnits
from mobilesam_cli.options import (
    COMMAND_LINE,
    Bundles,
    Engine,
    Json,
    MaxPixels,
    Photos,
    RayAddress,
    ReferenceWeights,
    ReportFolder,
    SkipUnusable,
    Threads,
    ThresholdsFile,
    WeightsKey,
    Workers,
    keyed,
    require_inputs,
    require_writable_folder,
    say,
)

if TYPE_CHECKING:
    from parity.report import Report

FAILED = 1
ALTERED = 2


def parity(
    context: typer.Context,
    bundles: Bundles,
    runtime: Annotated[
        list[str] | None,
        typer.Option(
            help="What to run them on; give it once for each.",
            show_default="each that a bundle has files for",
        ),
    ] = None,
    images: Photos = None,
    report: ReportFolder = None,
    thresholds: ThresholdsFile = None,
    weights: ReferenceWeights = None,
    weights_key: WeightsKey = None,
    threads: Threads = None,
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Take load time, latency and memory.")
    ] = True,
    compute_units: Annotated[
        ComputeUnits | None,
        typer.Option(
            case_sensitive=False, help="What Core ML may use, on a Mac.", show_default="all"
        ),
    ] = None,
    gallery: Annotated[
        bool,
        typer.Option("--gallery", help="Show in the report what the weights draw on photos."),
    ] = False,
    engine: Engine = None,
    workers: Workers = None,
    ray_address: RayAddress = None,
    max_pixels: MaxPixels = None,
    skip_unusable: SkipUnusable = False,
    as_json: Json = False,
) -> None:
    """Judge bundles against the PyTorch model.

    Exit status 0 only when every verdict passes; 2 when a file is not the one that was exported,
    so that its bundle FAILs unrun; else 1.
    """
    require_inputs(images=images, thresholds=thresholds)
    if report is not None:
        require_writable_folder(report)
        from parity.report.html import require_page

        require_page()

    from parity import compare

    result = compare(
        bundles,
        runtimes=runtime,
        images=images,
        thresholds=thresholds,
        weights=keyed(weights, weights_key),
        threads=threads,
        measure=measure,
        progress=not as_json,
        compute_units=compute_units and compute_units.upper(),
        gallery=gallery,
        skip_unusable=skip_unusable,
        engine=engine,
        workers=workers,
        ray_address=ray_address,
        command=context.meta[COMMAND_LINE],
    )
    finish(result, report, as_json=as_json)


def finish(
    result: "Report", folder: Path | None, *, as_json: bool, refused_fails: bool = True
) -> None:
    """Print the report, write it if a folder is given, and exit unless all pass.

    Args:
        result: what was judged.
        folder: for the report; None: it is only printed.
        as_json: print it as JSON.
        refused_fails: whether a bundle counts as failing that a runtime does not take at all.
    """
    written = {}
    if folder is not None:
        written = result.save(folder)
    if as_json:
        typer.echo(result.model_dump_json(indent=2))
    else:
        from rich.console import Console

        from parity.report import print_report

        print_report(result, Console())
    if "html" in written:
        typer.echo(f"report: {written['html']}", err=as_json)
    altered = [
        f"{bundle.path}: {check.where}"
        for bundle in result.bundles
        for check in bundle.checks
        if check.metric == "digest" and not check.passed
    ]
    if altered:
        say("error", f"{'; '.join(dict.fromkeys(altered))}: export the bundle again")
        raise typer.Exit(ALTERED)
    if not (result.passed if refused_fails else result.right_where_taken):
        raise typer.Exit(FAILED)
