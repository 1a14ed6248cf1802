"""`mobilesam scenes`: synthetic photos with exact masks."""

from pathlib import Path
from typing import Annotated

import typer

from mobilesam_cli.options import (
    MaxPixels,
    Quiet,
    require_writable_folder,
)


def scenes(
    photos: Annotated[
        Path,
        typer.Argument(help="Folder of photos with masks and a manifest.", show_default=False),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the scenes; must be new.")],
    names: Annotated[
        Path | None,
        typer.Option(help="Text file of image names to use, one a line.", show_default="all"),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="How many.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, other scenes.")] = 0,
    side: Annotated[int, typer.Option(min=64, help="Longer side in pixels.")] = 1024,
    max_pixels: MaxPixels = None,
    quiet: Quiet = False,
) -> None:
    """Compose photos of pasted shapes and cut-out objects, with their masks.

    The folder is in the format that `mobilesam evaluate --images` and the data of
    `mobilesam train` take.
    """
    require_writable_folder(out)

    from mobilesam.progress import Progress
    from mobilesam.training.scene_folder import scene_maker, write_scenes

    maker = scene_maker(photos, names)
    with Progress(not quiet, stderr=True) as progress:
        write_scenes(maker, out, count=count, seed=seed, side=side, track=progress.track)
    typer.echo(str(out))
