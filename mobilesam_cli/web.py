"""`mobilesam web`: a page that runs bundles in the browser."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from mobilesam.errors import BundleError, InputError
from mobilesam_cli.options import Bundles, require_writable_folder, say

if TYPE_CHECKING:
    from mobilesam.runtimes.bundle import Bundle


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
        raise InputError("with --no-serve nothing remains of the page: give a folder with --out")

    from mobilesam.web.page import built_page
    from mobilesam.web.server import address_of, serving
    from mobilesam.web.site import write_site

    opened = _runnable(bundles)
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


def _runnable(named: list[Path]) -> "list[Bundle]":
    """The bundles that browsers run, intact; what else lies in a folder is left out with a note.

    Raises:
        BundleError: a bundle that is named itself is not one, or none is left.
    """
    from mobilesam.web.site import runtime_of
    from parity.bundles import open_bundles

    kept = []
    for bundle in open_bundles(named):
        try:
            runtime_of(bundle)
        except BundleError as error:
            if bundle.path.resolve() in [path.resolve() for path in named]:
                raise
            say("note", f"left out: {error}")
            continue
        bundle.verify()
        kept.append(bundle)
    if not kept:
        raise BundleError("no browser runs any of these bundles: export the target tflite or onnx")
    return kept


@contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    """The folder to write to, ``out`` or one that vanishes when the block ends."""
    if out is not None:
        yield out
        return
    with TemporaryDirectory(prefix="mobilesam-web-") as scratch:
        yield Path(scratch) / "page"
