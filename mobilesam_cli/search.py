"""`mobilesam search`: the smallest or fastest file that still draws the masks."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from mobilesam.errors import InputError
from mobilesam_cli.options import (
    ImageSize,
    Json,
    MaxPixels,
    Photos,
    SkipUnusable,
    Threads,
    Weights,
    WeightsKey,
    keyed,
    print_json,
    require_inputs,
    require_writable_folder,
    say,
    written_atomically,
)

MISSED = 1
MB = 1_000_000


def search(
    target: Annotated[str, typer.Option(help="The target: tflite.")] = "tflite",
    min_miou: Annotated[
        float, typer.Option(min=0, max=1, help="Mean mask IoU with PyTorch to keep.")
    ] = 0.98,
    objective: Annotated[
        Literal["size", "latency"],
        typer.Option(help="Find the smallest, or the fastest on this machine."),
    ] = "size",
    max_mb: Annotated[
        float | None, typer.Option(min=0, help="Size of both files not to exceed, in MB.")
    ] = None,
    images: Photos = None,
    confirm_images: Annotated[
        Path | None,
        typer.Option(help="Folder of other photos to confirm on.", show_default="scikit-image's"),
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="Search on so many at most.", show_default="all")
    ] = None,
    weights: Weights = "demo",
    weights_key: WeightsKey = None,
    image_size: ImageSize = 1024,
    work: Annotated[
        Path, typer.Option(help="Folder for float32 files, trials and the bundle.")
    ] = Path("search"),
    out: Annotated[
        Path | None, typer.Option(help="The scheme file.", show_default="WORK/mixed.toml")
    ] = None,
    threads: Threads = None,
    max_pixels: MaxPixels = None,
    skip_unusable: SkipUnusable = False,
    as_json: Json = False,
) -> None:
    """Find the smallest or fastest mixed scheme whose masks keep a mean IoU, and confirm it.

    Searched on one set of photos, confirmed on another with `mobilesam parity`. Exit status 1 if it
    is not confirmed. Interrupted, the same command goes on.
    """
    require_inputs(images=images)
    if confirm_images is not None and not confirm_images.is_dir():
        raise InputError(f"--confirm-images takes a folder of photos, not '{confirm_images}'")
    if images is not None and confirm_images is not None and images.samefile(confirm_images):
        raise InputError("--images and --confirm-images are the same folder: give two")
    out = out or work / "mixed.toml"
    if out.suffix != ".toml":
        raise InputError(f"--out must end in .toml, not '{out}'")
    require_writable_folder(work)
    require_writable_folder(out.parent)

    from mobilesam.progress import Progress
    from parity.image_folder import folder_photos
    from parity.mixed_precision.confirm import confirm
    from parity.mixed_precision.search import search as run
    from parity.mixed_precision.workbench import require_target, search_photos, workbench
    from parity.photos import require_usable

    require_target(target)
    photos = search_photos(images, count)
    if confirm_images is not None:
        require_usable(folder_photos(confirm_images), [image_size], skip_unusable=skip_unusable)
    with (
        Progress(not as_json) as progress,
        workbench(
            work,
            photos,
            weights=keyed(weights, weights_key),
            image_size=image_size,
            progress=progress,
            threads=threads,
            skip_unusable=skip_unusable,
            timed=objective == "latency",
        ) as trials,
    ):
        limit = None if max_mb is None else round(max_mb * MB)
        searched = len(trials.references)
        found = run(trials, min_miou, progress, objective=objective, max_bytes=limit)
    out.parent.mkdir(parents=True, exist_ok=True)
    with written_atomically(out) as temporary:
        temporary.write_text(found.plan.toml(), "utf-8")
    confirmed = confirm(
        out,
        work,
        weights=keyed(weights, weights_key),
        image_size=image_size,
        images=confirm_images,
        skip_unusable=skip_unusable,
        progress=not as_json,
    )
    kept = confirmed.miou >= min_miou
    if as_json:
        print_json(
            {
                "scheme_file": str(out),
                "search": asdict(found.trial),
                "confirmed": {
                    "bundle": str(confirmed.bundle),
                    "miou": confirmed.miou,
                    "size_bytes": confirmed.size_bytes,
                    "kept": kept,
                },
            }
        )
    else:
        typer.echo(
            f"{out}: mask IoU {found.trial.miou:.4f} on {searched} search photos; "
            f"{confirmed.miou:.4f} on {len(confirmed.report.images)} unseen ones, "
            f"{confirmed.size_bytes / MB:.2f} MB in {confirmed.bundle}"
        )
    if not kept:
        say("error", f"{confirmed.miou:.4f} on unseen photos is below {min_miou}: ask for more")
        raise typer.Exit(MISSED)
