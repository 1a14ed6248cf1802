"""`mobilesam examples`: a few photos with masks to try the other commands on."""

from pathlib import Path
from typing import Annotated

import typer

from mobilesam_cli.options import require_writable_folder


def examples(
    out: Annotated[Path, typer.Option(help="Folder for the photos; must be new.")] = Path(
        "examples"
    ),
) -> None:
    """Write a few photos that anyone may use, with masks and two small recipes.

    For `mobilesam evaluate --images examples`, `mobilesam scenes examples`, and
    `mobilesam train examples/train.toml`.
    """
    require_writable_folder(out)

    from mobilesam.data.example_folder import write_examples

    count = write_examples(out)
    typer.echo(f"{out}: {count} photos with masks")
