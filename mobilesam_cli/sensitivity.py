"""`mobilesam sensitivity`: which layers do the masks need exact?"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilesam_cli.options import (
    ImageSize,
    Json,
    MaxPixels,
    Photos,
    SkipUnusable,
    Threads,
    Weights,
    WeightsKey,
    keyed,
    listed,
    print_json,
    require_inputs,
    require_place,
    require_writable_folder,
    written_atomically,
)

if TYPE_CHECKING:
    from parity.mixed_precision.sensitivity import GroupCost


def sensitivity(
    target: Annotated[str, typer.Argument(help="The target: tflite.")] = "tflite",
    precision: Annotated[
        list[str], typer.Option(help="Precisions to try each group in, comma-separated.")
    ] = ["w8d", "w4"],  # noqa: B006 - Typer reads the default and never changes it
    images: Photos = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="Use so many photos at most.", show_default="all")
    ] = None,
    weights: Weights = "demo",
    weights_key: WeightsKey = None,
    image_size: ImageSize = 1024,
    work: Annotated[
        Path, typer.Option(help="Folder for float32 files and trials; goes on where it was.")
    ] = Path("search"),
    plot: Annotated[Path | None, typer.Option(help="Also write the plot, .svg.")] = None,
    threads: Threads = None,
    max_pixels: MaxPixels = None,
    skip_unusable: SkipUnusable = False,
    as_json: Json = False,
) -> None:
    """Quantize one group of layers at a time: mask IoU lost against bytes saved."""
    require_inputs(images=images)
    require_writable_folder(work)
    if plot is not None:
        require_place("--plot", plot)
        from parity.report.svg import require_charts

        require_charts()

    from mobilesam.progress import Progress
    from parity.mixed_precision.plot import sensitivity_plot
    from parity.mixed_precision.sensitivity import sensitivity as measure
    from parity.mixed_precision.workbench import require_target, search_photos, workbench

    require_target(target)
    photos = search_photos(images, count)
    with (
        Progress(not as_json) as progress,
        workbench(
            work,
            photos,
            weights=keyed(weights, weights_key),
            image_size=image_size,
            progress=progress,
            threads=threads,
            skip_unusable=skip_unusable,
        ) as trials,
    ):
        costs = measure(trials, listed(precision), progress)
    if plot is not None:
        with written_atomically(plot) as temporary:
            temporary.write_text(sensitivity_plot(costs), "utf-8")
    if as_json:
        print_json([asdict(cost) for cost in costs])
        return
    print_costs(costs)


def print_costs(costs: "list[GroupCost]") -> None:
    """The table of single groups, the costliest first."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="One group quantized, all others float32", title_justify="left")
    for name in ("file", "group", "precision"):
        table.add_column(name, overflow="fold")
    for name in ("mask IoU lost", "MB saved"):
        table.add_column(name, justify="right")
    for cost in costs:
        table.add_row(
            cost.component,
            cost.group,
            cost.precision,
            f"{cost.loss:.4f}",
            f"{cost.saved_bytes / 1e6:.2f}",
        )
    Console().print(table)
