"""`mobilesam bisect`: at which op does an exported file leave PyTorch?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mobilesam.weights.demo import DEMO
from mobilesam_cli.options import (
    Box,
    Json,
    Labels,
    Points,
    ReferenceWeights,
    ThresholdsFile,
    Typed,
    require_inputs,
    require_writable_folder,
    say,
    say_demo,
    typed_prompt,
)

if TYPE_CHECKING:
    from mobilesam.bundle.contract import Component
    from parity.bisection.run import Subject

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
    thresholds: ThresholdsFile = None,
    top: Annotated[int, typer.Option(min=1, help="Ops to list, the worst of each file.")] = 10,
    every: Annotated[bool, typer.Option("--all", help="List every op, in order.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Folder for bisect.html and bisect.json.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Hold every op of a bundle's files against PyTorch, and name the first that is wrong.

    Exit status 0 without a fault, 1 with one.
    """
    if report is not None:
        require_writable_folder(report)
    require_inputs(thresholds=thresholds)

    from mobilesam.bundle.contract import COMPONENTS
    from mobilesam.model.build import load_model
    from mobilesam.progress import Progress
    from mobilesam.runtimes.bundle import Bundle
    from parity.bisection.formats import require_format
    from parity.bisection.report import print_report, write_report
    from parity.bisection.run import bisect as run
    from parity.suite import Origin
    from parity.thresholds import Thresholds

    opened = Bundle(bundle)
    opened.require_files()
    manifest = opened.manifest
    limits = Thresholds(thresholds).row(manifest.target, manifest.scheme.name).layers
    subject = _subject(image, typed_prompt(point, label, box), manifest.image_size)
    require_format(opened)
    origin = Origin.of(opened, weights)
    model = load_model(origin.weights, origin.variant, origin.image_size)
    chosen: tuple[Component, ...] = COMPONENTS if component == "both" else (component,)
    with Progress(not as_json) as progress:
        found = run(opened, model, subject, limits, components=chosen, progress=progress)
    written = {} if report is None else write_report(found, report)
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


def _subject(image: Path, typed: Typed, image_size: int) -> "Subject":
    """Photo and prompt, checked."""
    from mobilesam.inference.images import load_image
    from mobilesam.inference.prompts import make_prompt
    from parity.bisection.run import Subject

    pixels = load_image(image)
    height, width = pixels.shape[:2]
    prompt = make_prompt(
        typed.points or None,
        typed.labels or ([1.0] * len(typed.points) or None),
        typed.box,
        original_size=(height, width),
        low_res_size=image_size // 4,
    )
    return Subject(image.name, pixels, prompt)
