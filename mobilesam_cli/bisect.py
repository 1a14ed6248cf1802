"""`mobilesam bisect`: at which op does an exported file leave PyTorch?"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mobilesam.weights.demo import DEMO
from mobilesam_cli.options import (
    Json,
    MaxPixels,
    ReferenceWeights,
    ThresholdsFile,
    WeightsKey,
    keyed,
    require_inputs,
    require_writable_folder,
    say,
    say_demo,
)
from mobilesam_cli.prompt_options import Box, Labels, Points, typed_prompt

FAULT = 1


def bisect(
    bundle: Annotated[Path, typer.Argument(help="The bundle.", show_default=False)],
    image: Annotated[Path, typer.Option(help="A photo.", show_default=False)],
    point: Points = None,
    label: Labels = None,
    box: Box = None,
    component: Annotated[
        Literal["encoder", "decoder", "both"], typer.Option(help="Which files to look into.")
    ] = "both",
    weights: ReferenceWeights = None,
    weights_key: WeightsKey = None,
    thresholds: ThresholdsFile = None,
    top: Annotated[int, typer.Option(min=1, help="Ops to list, the worst of each file.")] = 10,
    every: Annotated[bool, typer.Option("--all", help="List every op, in order.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Folder for bisect.html and bisect.json.")
    ] = None,
    max_pixels: MaxPixels = None,
    as_json: Json = False,
) -> None:
    """Hold every op of a bundle's files against PyTorch, and name the first that is wrong.

    Exit status 0 without a fault, 1 with one.
    """
    if report is not None:
        require_writable_folder(report)
    require_inputs(thresholds=thresholds)

    typed = typed_prompt(point, label, box)

    from parity import bisect as look_into
    from parity.bisection.report import print_report

    found = look_into(
        bundle,
        image,
        point_coords=typed.points or None,
        point_labels=typed.labels or None,
        box=typed.box,
        components=("encoder", "decoder") if component == "both" else (component,),
        weights=keyed(weights, weights_key),
        thresholds=thresholds,
        progress=not as_json,
    )
    written = {} if report is None else found.save(report)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        from rich.console import Console

        print_report(found, Console(), top=None if every else top)
    if found.weights == DEMO:
        say_demo()
    if "html" in written:
        typer.echo(f"report: {written['html']}", err=as_json)
    for note in found.notes:
        say("note", note)
    if found.verdict == "fault":
        raise typer.Exit(FAULT)
