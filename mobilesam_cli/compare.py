"""`mobilesam compare`: MobileSAM beside other models that segment, measured on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from mobilesam_cli.options import COMMAND_LINE, Json, require_writable_folder


def compare(
    context: typer.Context,
    models: Annotated[
        str | None,
        typer.Option(
            help="Names, comma-separated, such as mobile_sam,sam_b,yolo11n_seg.",
            show_default="all that can be run here",
        ),
    ] = None,
    photo: Annotated[
        Path | None, typer.Option(help="A photo.", show_default="one of scikit-image's")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads.", show_default="one for each core")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each step is timed.")] = 5,
    points_per_side: Annotated[
        int, typer.Option(min=1, help="Of the grid of points, where everything is found.")
    ] = 32,
    ultralytics_points_per_side: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="The same for SAM run by Ultralytics' package, which takes minutes; with fewer, "
            "the time for all is extrapolated, and said to be.",
            show_default="the same",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option(help="Find everything in the photo too, once: minutes a model.")
    ] = True,
    warm_up: Annotated[bool, typer.Option(help="Run each step once before it is timed.")] = True,
    out: Annotated[
        Path | None, typer.Option(help="Folder for comparison.md, .json and .svg.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare MobileSAM with the original SAM: parameters, size, time.

    Where Ultralytics' package is installed, also with SAM 2, FastSAM and YOLO by its own code.
    Weights that are not here are not downloaded: the architecture alone tells size and time.
    """
    if out is not None:
        require_writable_folder(out)
    from mobilesam.comparison.compare import compare_models
    from mobilesam.comparison.report import require_chart

    if out is not None:
        require_chart()
    result = compare_models(
        None if models is None else [name.strip() for name in models.split(",")],
        photo=photo,
        threads=threads,
        rounds=rounds,
        points_per_side=points_per_side,
        ultralytics_points_per_side=ultralytics_points_per_side,
        everything=everything,
        warm_up=warm_up,
        progress=not as_json,
        command=context.meta[COMMAND_LINE],
    )
    typer.echo(result.model_dump_json(indent=2) if as_json else result.markdown())
    if out is not None:
        for path in result.save(out).values():
            typer.echo(str(path), err=True)
    if any(model.failed for model in result.models):
        raise typer.Exit(1)
