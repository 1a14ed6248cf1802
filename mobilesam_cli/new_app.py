"""`mobilesam new-app`: a platform's sample app with a bundle in it."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mobilesam_cli.options import require_writable_folder


def new_app(
    platform: Annotated[
        Literal["ios", "android", "web"], typer.Argument(help="Where the app runs.")
    ],
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.", show_default=False)],
    folder: Annotated[
        Path, typer.Argument(help="Folder for the app; must be new.", show_default=False)
    ],
) -> None:
    """Write a sample app with a bundle in it: click in a photo, see the mask."""
    require_writable_folder(folder)

    from mobilesam.apps.new_app import new_app as write_app
    from mobilesam.bundle.manifest import BundleFolder

    opened = BundleFolder(bundle)
    write_app(platform, opened, folder)
    typer.echo(f"{folder}: a sample app for {platform} with {opened.name}; see its README.md")
