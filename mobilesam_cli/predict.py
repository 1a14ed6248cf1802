"""`mobilesam predict`: one photo, one prompt, one mask; from PyTorch or from exported files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilesam.errors import InputError, MissingDependencyError
from mobilesam.weights.demo import DEMO
from mobilesam_cli.options import (
    Box,
    Json,
    Labels,
    Points,
    Threads,
    require_place,
    say,
    say_demo,
    typed_prompt,
    written_atomically,
)

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from mobilesam_cli.segment import Answer

OVERLAY_SIDES = 480, 1024
"""A panel of the overlay is as long as the photo, within these bounds, in pixels."""


def predict(
    image: Annotated[Path, typer.Argument(help="The photo.", show_default=False)],
    point: Points = None,
    label: Labels = None,
    box: Box = None,
    mask_input: Annotated[
        Path | None, typer.Option(help="Low-res logits that --logits wrote, to be refined.")
    ] = None,
    multimask: Annotated[
        bool | None,
        typer.Option(
            "--multimask/--single",
            help="Take the best of the three alternatives, or the single-mask output.",
            show_default="as SAM: alternatives for a lone point",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="demo, official or the path of a checkpoint.", show_default="demo"),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Run the exported files of this bundle instead of PyTorch.")
    ] = None,
    runtime: Annotated[
        str | None, typer.Option(help="Which of the bundle's runtimes.", show_default="its first")
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(min=64, help="Side of the model's square frame.", show_default="1024"),
    ] = None,
    threads: Threads = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The mask as PNG, 0 or 255.", show_default="IMAGE-mask.png, here"),
    ] = None,
    overlay: Annotated[
        Path | None, typer.Option(help="Also write the photo with prompt and mask, PNG or JPEG.")
    ] = None,
    logits: Annotated[
        Path | None, typer.Option(help="Also write the mask's low-res logits, .npy.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Segment what a prompt points at, and write the mask."""
    typed = typed_prompt(point, label, box)
    out = out or Path(f"{image.stem}-mask.png")
    _check_outputs(image, out, overlay, logits)
    if bundle is not None and (weights is not None or image_size is not None):
        raise InputError("a bundle has weights and image size of its own: drop those options")
    if bundle is None and runtime is not None:
        raise InputError("--runtime chooses among a bundle's runtimes: give --bundle too")

    from mobilesam_cli.segment import Request, segment, segment_with_bundle

    request = Request(
        image=image,
        points=typed.points,
        labels=typed.labels,
        box=typed.box,
        mask_input=mask_input,
        multimask=multimask,
        threads=threads,
    )
    if as_json:
        _require_coco()
    if bundle is not None:
        answer = segment_with_bundle(request, bundle, runtime)
    else:
        answer = segment(request, weights or "demo", image_size or 1024)
    _write(answer, out, overlay, logits)
    for note in answer.prompt.notes:
        say("note", note)
    if answer.weights == DEMO:
        say_demo()
    named = {"mask": out, "overlay": overlay, "logits": logits}
    files = {name: str(path) for name, path in named.items() if path is not None}
    if as_json:
        typer.echo(answer.as_json(files))
        return
    typer.echo(
        f"{out}: mask {answer.chosen}, predicted IoU {answer.iou[answer.chosen]:.3f}, "
        f"{answer.area} pixels ({100 * answer.area / answer.mask.size:.1f} %), {answer.title}"
    )
    for name, path in files.items():
        if name != "mask":
            typer.echo(f"{path}: {name}")


def _check_outputs(image: Path, out: Path, overlay: Path | None, logits: Path | None) -> None:
    wanted: list[tuple[str, Path, tuple[str, ...]]] = [("--out", out, (".png",))]
    if overlay is not None:
        wanted.append(("--overlay", overlay, (".png", ".jpg", ".jpeg")))
    if logits is not None:
        wanted.append(("--logits", logits, (".npy",)))
    taken = {image.resolve()}
    for option, path, suffixes in wanted:
        if path.suffix.lower() not in suffixes:
            raise InputError(f"{option} must end in {' or '.join(suffixes)}, not '{path}'")
        if path.resolve() in taken:
            raise InputError(f"{option} would overwrite '{path}': choose another name")
        require_place(option, path)
        taken.add(path.resolve())


def _require_coco() -> None:
    from importlib.util import find_spec

    if find_spec("pycocotools") is None:
        raise _missing("--json encodes the mask", "pycocotools")


def _write(answer: "Answer", out: Path, overlay: Path | None, logits: Path | None) -> None:
    import numpy as np
    from PIL import Image

    picture = None if overlay is None else _overlay(answer)
    with written_atomically(out) as temporary:
        Image.fromarray(answer.mask.astype(np.uint8) * 255).save(temporary)
    if overlay is not None and picture is not None:
        with written_atomically(overlay) as temporary:
            picture.save(temporary)
    if logits is not None:
        with written_atomically(logits) as temporary:
            np.save(temporary, answer.low_res[answer.chosen][None])


def _overlay(answer: "Answer") -> "Picture":
    try:
        from mobilesam.inference.drawing import draw_masks
    except ImportError as error:
        raise _missing("--overlay draws as the report does", error.name or "a library") from None

    smallest, largest = OVERLAY_SIDES
    side = min(largest, max(smallest, *answer.mask.shape))
    masks = [answer.mask]
    return draw_masks(answer.pixels, answer.prompt, masks, titles=[answer.title], max_side=side)


def _missing(what: str, library: str) -> MissingDependencyError:
    return MissingDependencyError(
        f'{what}, which needs {library}: pip install "mobilesam-export[report]"'
    )
