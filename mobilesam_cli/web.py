"""`mobilesam web`: a page that runs bundles in the browser."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from mobilesam_cli.options import Bundles, require_writable_folder


def web(
    bundles: Bundles,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write the page to, for any web host; must be new.",
            show_default="none is kept",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            help="Port on localhost; 0: any free one.", min=0, max=65535, show_default="8017"
        ),
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve/--no-serve", help="Serve the page until Ctrl-C.")
    ] = True,
    browse: Annotated[
        bool, typer.Option("--browser", help="Open the page in the default browser.")
    ] = False,
) -> None:
    """Run TFLite and ONNX bundles in a page: click on a photo, see the mask, compare bundles."""
    if out is not None:
        require_writable_folder(out)
    elif not serve:
        raise typer.BadParameter("give --out, or nothing remains of the page", param_hint="no-serve")

    from mobilesam.web.page import built_page
    from mobilesam.web.server import address_of, serving
    from mobilesam.web.site import runtime_of, write_site
    from parity.bundles import open_bundles

    opened = open_bundles(bundles)
    for bundle in opened:
        runtime_of(bundle)
        bundle.verify()
    page = built_page(say=lambda now: typer.echo(now, err=True))
    with _folder(out) as folder:
        write_site(opened, page, folder)
        if out is not None:
            typer.echo(f"{out}: the page and {len(opened)} bundle(s)")
        if not serve:
            return
        with serving(folder, port) as server:
            typer.echo(f"{address_of(server)} (Ctrl-C ends it)")
            if browse:
                typer.launch(address_of(server))
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                typer.echo("")


@contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    """The folder to write to: the one that was asked for, or one that vanishes."""
    if out is not None:
        yield out
        return
    with TemporaryDirectory(prefix="mobilesam-web-") as scratch:
        yield Path(scratch) / "page"
