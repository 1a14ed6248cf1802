"""`mobilesam evaluate`: how good are the masks?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilesam.errors import InputError
from mobilesam.weights.demo import DEMO
from mobilesam_cli.options import (
    CHECKPOINTS,
    COMMAND_LINE,
    Engine,
    Json,
    MaxPixels,
    OneRuntime,
    OwnImageSize,
    RayAddress,
    SkipUnusable,
    Threads,
    WeightsKey,
    Workers,
    keyed,
    require_place,
    say_demo,
    say_left_out,
)

if TYPE_CHECKING:
    from parity.evaluation.scores import EvaluationReport


def evaluate(
    context: typer.Context,
    images: Annotated[
        Path,
        typer.Option(
            help="Folder of images, with a manifest.json unless --coco.", show_default=False
        ),
    ],
    model: Annotated[
        str,
        typer.Argument(help=f"{CHECKPOINTS}; or a bundle's folder."),
    ] = "demo",
    weights_key: WeightsKey = None,
    coco: Annotated[
        Path | None, typer.Option(help="COCO instances JSON that describes the images' masks.")
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option(help="Text file, an image a line: score only these.", show_default="all"),
    ] = None,
    max_images: Annotated[
        int | None, typer.Option(min=1, help="Score so many images at most.", show_default="all")
    ] = None,
    all_segments: Annotated[
        bool,
        typer.Option("--all-segments", help="Score small, hidden and uncountable segments too."),
    ] = False,
    image_size: OwnImageSize = None,
    runtime: OneRuntime = None,
    threads: Threads = None,
    engine: Engine = None,
    workers: Workers = None,
    ray_address: RayAddress = None,
    max_pixels: MaxPixels = None,
    skip_unusable: SkipUnusable = False,
    out: Annotated[Path | None, typer.Option(help="Also write the result, as JSON.")] = None,
    as_json: Json = False,
) -> None:
    """Score masks against masks that people drew: mean IoU by prompt type, with 95 % intervals."""
    if out is not None:
        from mobilesam.bundle.manifest import MANIFEST_NAME
        from mobilesam.data.masked_images import MANIFEST

        described = coco or images / MANIFEST
        require_place("--out", out, described, names, Path(model), Path(model) / MANIFEST_NAME)
    if weights_key is not None and Path(model).is_dir():
        raise InputError(
            f"--weights-key chooses within a checkpoint, and '{model}' is a folder: a bundle has "
            "its own weights"
        )
    from parity import evaluate as score

    result = score(
        keyed(model, weights_key),
        images,
        coco=coco,
        names=names,
        max_images=max_images,
        all_segments=all_segments,
        image_size=image_size,
        runtime=runtime,
        threads=threads,
        skip_unusable=skip_unusable,
        engine=engine,
        workers=workers,
        ray_address=ray_address,
        progress=not as_json,
        command=context.meta[COMMAND_LINE],
    )
    if out is not None:
        result.save(out)
    if result.weights.get("name") == DEMO:
        say_demo()
    say_left_out(result.unusable_images, result.scores[0].images)
    if as_json:
        typer.echo(result.model_dump_json(indent=2))
        return
    _print(result)
    if out is not None:
        typer.echo(f"{out}: result")


def _print(result: "EvaluationReport") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    first = result.scores[0]
    table = Table(
        title=escape(f"{result.model}: {first.segments} segments of {first.images} images"),
        title_justify="left",
    )
    table.add_column("prompt", no_wrap=True)
    for column in ("mean IoU", "95 % interval", "IoU prediction off by"):
        table.add_column(column, justify="right")
    for score in result.scores:
        interval = "–" if score.low is None else f"{score.low:.3f} to {score.high:.3f}"
        off = "–" if score.prediction_error is None else f"{score.prediction_error:.3f}"
        table.add_row(
            score.prompt,
            f"{score.mean_iou:.3f}",
            interval,
            off,
            end_section=score.prompt == result.scores[-2].prompt,
        )
    console.print(table)
    weights = f"{result.weights.get('name', '?')} ({result.weights.get('sha256', '')[:12]})"
    console.print(
        escape(f"{result.engine}, image size {result.image_size}, weights {weights}"),
        soft_wrap=True,
    )
    console.print(escape(f"scored: {result.rule}"), soft_wrap=True)
