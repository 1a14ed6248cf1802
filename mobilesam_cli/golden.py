"""`mobilesam golden`: a photo's inputs and PyTorch's answers, to test a bundle on a phone with."""

from pathlib import Path
from typing import Annotated

import typer

from mobilesam_cli.options import (
    MaxPixels,
    ReferenceWeights,
    ThresholdsFile,
    WeightsKey,
    keyed,
    require_writable_folder,
)


def golden(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.", show_default=False)],
    out: Annotated[
        Path, typer.Option(help="Folder for the vectors; must be new.", show_default=False)
    ],
    image: Annotated[
        Path | None,
        typer.Option(
            help="Photo; the prompts point at its middle.", show_default="one of scikit-image's"
        ),
    ] = None,
    weights: ReferenceWeights = None,
    weights_key: WeightsKey = None,
    max_pixels: MaxPixels = None,
    thresholds: ThresholdsFile = None,
) -> None:
    """Write a bundle's golden vectors: raw tensors, what PyTorch answers, and the limits.

    The tests in `apps/apple/` and `apps/android/` read the folder.
    """
    require_writable_folder(out)

    from parity.golden import golden_vectors

    made = golden_vectors(
        bundle, out, image=image, weights=keyed(weights, weights_key), thresholds=thresholds
    )
    typer.echo(f"{out}: {len(made.cases)} prompts on {made.image}, for {made.bundle}")
