"""`mobilesam distill`: a new encoder that answers as a teacher's does."""

from functools import partial
from pathlib import Path

import typer

from mobilesam_cli.options import (
    MaxPixels,
    Quiet,
    require_writable_folder,
)
from mobilesam_cli.train import Recipe, RunFolderOption, StopAfter


def distill(
    recipe: Recipe,
    out: RunFolderOption = Path("runs/distill"),
    stop_after: StopAfter = None,
    max_pixels: MaxPixels = None,
    quiet: Quiet = False,
) -> None:
    """Distil a teacher's image encoder into a fresh one, or into its own quantized self.

    From photos alone. Writes the same files as `mobilesam train`; the weights have the teacher's
    prompt encoder and mask decoder. Where the recipe names a scheme, `mobilesam export --distilled`
    takes them. Interrupted at any moment, the same command goes on from the last saved state.
    """
    require_writable_folder(out)

    from mobilesam.training.config import DistillConfig, load_config
    from mobilesam.training.distillation import distill as run

    config = load_config(recipe, DistillConfig)
    rounding_of = None
    if config.scheme is not None:
        from converters.tflite.weights import plan_of, roundings_of

        rounding_of = partial(roundings_of, plan=plan_of(config.scheme))
    weights = run(config, out, rounding_of=rounding_of, stop_after=stop_after, progress=not quiet)
    typer.echo(str(weights))
