"""`mobilesam distill`: a new encoder that answers as a teacher's does."""

from pathlib import Path

import typer

from mobilesam.cli.common import Quiet, require_writable_folder
from mobilesam.cli.train import Recipe, RunFolderOption, StopAfter


def distill(
    recipe: Recipe,
    out: RunFolderOption = Path("runs/distill"),
    stop_after: StopAfter = None,
    quiet: Quiet = False,
) -> None:
    """Distil a teacher's image encoder into a fresh one, from photos alone.

    Writes the same files as `mobilesam train`; the weights have the teacher's prompt encoder and
    mask decoder. Interrupted at any moment, the same command goes on from the last saved state.
    """
    require_writable_folder(out)

    from rich.console import Console

    from training.config import DistillConfig, load_config
    from training.distillation import distill as run

    config = load_config(recipe, DistillConfig)
    console = None if quiet else Console(stderr=True)
    typer.echo(str(run(config, out, stop_after=stop_after, console=console)))
