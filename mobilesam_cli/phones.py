"""`mobilesam phones`: every bundle on the hardware that it will meet, or what stands in for it."""

from pathlib import Path
from typing import Annotated

import typer

from mobilesam_cli.options import (
    COMMAND_LINE,
    Json,
    Photos,
    Weights,
    WeightsKey,
    keyed,
    require_inputs,
    require_writable_folder,
)
from mobilesam_cli.parity import finish


def phones(
    context: typer.Context,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="A part, such as x86, arm, gpu or browser; give it once for each.",
            show_default="every part",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the bundles.")] = Path("exports/phones"),
    report: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("reports/phones"),
    image_size: Annotated[
        int | None,
        typer.Option(
            help="Side of the frame in pixels, of all bundles.", show_default="each part's own"
        ),
    ] = None,
    images: Photos = None,
    weights: Weights = "demo",
    weights_key: WeightsKey = None,
    force: Annotated[bool, typer.Option("--force", help="Judge again what was judged.")] = False,
    as_json: Json = False,
) -> None:
    """Judge bundles on each kind of hardware, or on what stands in for it; hours at first.

    Bundles that were judged before are not judged again. A bundle that hardware refuses is no
    failure: nobody can ship it there by mistake.
    """
    require_inputs(images=images)
    require_writable_folder(out)
    require_writable_folder(report)
    from parity.report.html import require_page

    require_page()

    from parity.phones.run import check_phones

    result = check_phones(
        out,
        report,
        only=only,
        image_size=image_size,
        images=images,
        weights=keyed(weights, weights_key),
        force=force,
        progress=not as_json,
        command=context.meta[COMMAND_LINE],
        say=lambda sentence: typer.echo(sentence, err=True),
    )
    finish(result, report, as_json=as_json, refused_fails=False)
