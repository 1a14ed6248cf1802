"""`mobilesam train`: promptable training from masks."""

from pathlib import Path
from typing import Annotated

import typer

from mobilesam_cli.options import (
    MaxPixels,
    Quiet,
    require_writable_folder,
)

Recipe = Annotated[Path, typer.Argument(help="TOML file of the run.", show_default=False)]
RunFolderOption = Annotated[
    Path, typer.Option(help="Folder of the run. The same command again continues it.")
]
StopAfter = Annotated[
    int | None,
    typer.Option(min=1, help="Stop once this many steps of the run are done, ready to go on."),
]
Workers = Annotated[
    int, typer.Option(min=0, help="Processes that prepare images; 0: none beside the trainer.")
]


def train(
    recipe: Recipe,
    out: RunFolderOption = Path("runs/train"),
    workers: Workers = 1,
    stop_after: StopAfter = None,
    max_pixels: MaxPixels = None,
    quiet: Quiet = False,
) -> None:
    """Train a model from masks, and write its weights.

    Writes weights.safetensors (fp16, averaged), log.jsonl, curves.png and state.pt into the run's
    folder. Interrupted at any moment, the same command goes on from the last saved state.
    """
    require_writable_folder(out)

    from mobilesam.training.config import TrainConfig, load_config
    from mobilesam.training.trainer import train as run

    config = load_config(recipe, TrainConfig)
    weights = run(config, out, workers=workers, stop_after=stop_after, progress=not quiet)
    typer.echo(str(weights))
