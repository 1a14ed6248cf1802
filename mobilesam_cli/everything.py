"""`mobilesam everything`: every mask of a photo; from PyTorch or from exported files."""

import json
import math
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mobilesam.errors import InputError
from mobilesam.weights.demo import DEMO
from mobilesam_cli.options import (
    InsteadOfPyTorch,
    Json,
    MaxPixels,
    OneRuntime,
    OwnImageSize,
    OwnWeights,
    Threads,
    WeightsKey,
    keyed,
    print_json,
    require_place,
    say_demo,
    written_atomically,
)

if TYPE_CHECKING:
    import numpy as np

    from mobilesam.everything import MaskGenerator
    from mobilesam.everything.generator import MaskRecord

PICTURES = (".png", ".jpg", ".jpeg")


def everything(
    image: Annotated[Path, typer.Argument(help="The photo.", show_default=False)],
    points_per_side: Annotated[int, typer.Option(help="Points of the grid, a side.")] = 32,
    points_per_batch: Annotated[
        int, typer.Option(help="Points at a time, where a decoder takes several.")
    ] = 64,
    pred_iou_thresh: Annotated[
        float, typer.Option(help="Predicted IoU that a mask must exceed.")
    ] = 0.88,
    stability_score_thresh: Annotated[
        float, typer.Option(help="Least stability score of a mask.")
    ] = 0.95,
    stability_score_offset: Annotated[
        float, typer.Option(help="By how much the score moves the threshold.")
    ] = 1.0,
    box_nms_thresh: Annotated[
        float, typer.Option(help="IoU of boxes above which the better mask stays.")
    ] = 0.7,
    crop_n_layers: Annotated[int, typer.Option(help="Layers of crops to ask about too.")] = 0,
    crop_nms_thresh: Annotated[float, typer.Option(help="The same IoU, between crops.")] = 0.7,
    crop_overlap_ratio: Annotated[
        float, typer.Option(help="How much crops overlap.", show_default="512/1500")
    ] = 512 / 1500,
    crop_n_points_downscale_factor: Annotated[
        int, typer.Option(help="Fewer points a side in each layer of crops.")
    ] = 1,
    min_mask_region_area: Annotated[
        float, typer.Option(help="Pixels of the smallest hole or island that stays.")
    ] = 0,
    output_mode: Annotated[
        str, typer.Option(help="Masks in the JSON: coco_rle or uncompressed_rle.")
    ] = "coco_rle",
    mode: Annotated[
        str,
        typer.Option(help="full: every point. fast: where a coarse grid found masks."),
    ] = "full",
    weights: OwnWeights = None,
    weights_key: WeightsKey = None,
    bundle: InsteadOfPyTorch = None,
    runtime: OneRuntime = None,
    image_size: OwnImageSize = None,
    threads: Threads = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The masks, as JSON.", show_default="IMAGE-masks.json, here"),
    ] = None,
    overlay: Annotated[
        Path | None, typer.Option(help="Also write the photo with every mask, PNG or JPEG.")
    ] = None,
    max_pixels: MaxPixels = None,
    as_json: Json = False,
) -> None:
    """Find every mask of a photo, as SAM's automatic mask generation does, and write them."""
    out = out or Path(f"{image.stem}-masks.json")
    _check_outputs(image, bundle, out, overlay)
    if bundle is not None and any(o is not None for o in (weights, weights_key, image_size)):
        raise InputError("a bundle has weights and image size of its own: drop those options")
    if bundle is None and runtime is not None:
        raise InputError("--runtime chooses among a bundle's runtimes: give --bundle too")
    if output_mode == "binary_mask":
        raise InputError("--output-mode must be coco_rle or uncompressed_rle: JSON holds no pixels")
    parameters: dict[str, Any] = {
        "points_per_side": points_per_side,
        "points_per_batch": points_per_batch,
        "pred_iou_thresh": pred_iou_thresh,
        "stability_score_thresh": stability_score_thresh,
        "stability_score_offset": stability_score_offset,
        "box_nms_thresh": box_nms_thresh,
        "crop_n_layers": crop_n_layers,
        "crop_nms_thresh": crop_nms_thresh,
        "crop_overlap_ratio": crop_overlap_ratio,
        "crop_n_points_downscale_factor": crop_n_points_downscale_factor,
        "min_mask_region_area": min_mask_region_area,
        "output_mode": output_mode,
        "mode": mode,
    }
    from mobilesam.everything import MaskGenerator
    from mobilesam.everything.settings import Settings
    from mobilesam.inference.images import load_image

    Settings.of(parameters)
    pixels = load_image(image)
    with ExitStack() as opened:
        if bundle is not None:
            from mobilesam import Bundle

            folder = Bundle(bundle)
            generator = opened.enter_context(
                MaskGenerator(folder, runtime=runtime, threads=threads, **parameters)
            )
            name = folder.manifest.weights.name
        else:
            from mobilesam import load_model
            from mobilesam.runtimes.checked import torch_threads

            chosen = keyed(weights, weights_key) or DEMO
            model = load_model(chosen, image_size=image_size or 1024)
            opened.enter_context(torch_threads(threads))
            generator = MaskGenerator(model, **parameters)
            name = chosen if model.weights is None else model.weights.name
        records = _generate(generator, pixels, progress=not as_json)
    described = {
        "image": str(image),
        "size": list(pixels.shape[:2]),
        "engine": generator.engine,
        "weights": name,
        "parameters": parameters,
        "masks": [_for_json(record) for record in records],
    }
    _write(described, out)
    if overlay is not None:
        _draw(pixels, records, overlay)
    if name == DEMO:
        say_demo()
    if as_json:
        print_json(described)
        return
    typer.echo(f"{out}: {len(records)} masks, {generator.engine}")
    if overlay is not None:
        typer.echo(f"{overlay}: overlay")


def _check_outputs(image: Path, bundle: Path | None, out: Path, overlay: Path | None) -> None:
    from mobilesam.bundle.manifest import MANIFEST_NAME

    if out.suffix.lower() != ".json":
        raise InputError(f"--out must end in .json, not '{out}'")
    require_place("--out", out, image, bundle and bundle / MANIFEST_NAME)
    if overlay is None:
        return
    if overlay.suffix.lower() not in PICTURES:
        raise InputError(f"--overlay must end in {' or '.join(PICTURES)}, not '{overlay}'")
    require_place("--overlay", overlay, image)


def _generate(
    generator: "MaskGenerator", pixels: "np.ndarray", *, progress: bool
) -> "list[MaskRecord]":
    from mobilesam.progress import Progress

    height, width = pixels.shape[:2]
    points = generator.count_points((height, width))
    with Progress(progress, stderr=True) as shown, shown.task("points", points) as step:
        return generator.generate(pixels, on_point=lambda: step(""))


def _for_json(record: "MaskRecord") -> dict[str, Any]:
    """The record; an empty mask has no stability score, and JSON no word for that but null."""
    score = record["stability_score"]
    return {**record, "stability_score": None if math.isnan(score) else score}


def _write(described: dict[str, Any], out: Path) -> None:
    with written_atomically(out) as temporary:
        temporary.write_text(json.dumps(described), "utf-8")


def _draw(pixels: "np.ndarray", records: "list[MaskRecord]", overlay: Path) -> None:
    from mobilesam.everything import rle
    from mobilesam.everything.drawing import draw_everything

    largest_first = sorted(records, key=lambda record: -record["area"])
    picture = draw_everything(pixels, (rle.mask_of(r["segmentation"]) for r in largest_first))
    with written_atomically(overlay) as temporary:
        picture.save(temporary)
