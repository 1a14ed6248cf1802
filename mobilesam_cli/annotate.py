"""`mobilesam annotate`: a folder of photos to labels."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilesam.errors import InputError
from mobilesam_cli.options import (
    CHECKPOINTS,
    Json,
    MaxPixels,
    OneRuntime,
    OwnImageSize,
    Quiet,
    RayAddress,
    Workers,
    print_json,
    require_writable_folder,
)

if TYPE_CHECKING:
    from mobilesam.annotation.auto import Summary


def annotate(
    data: Annotated[Path, typer.Argument(help="Folder of photos.", show_default=False)],
    det_model: Annotated[
        str,
        typer.Option(
            help="Where boxes come from: a YOLO detector (.onnx, or .pt if ultralytics is "
            "installed), a folder of YOLO label files, or a COCO file."
        ),
    ] = "yolo26x.pt",
    sam_model: Annotated[
        str, typer.Option(help=f"{CHECKPOINTS}; or a bundle's folder.")
    ] = "mobile_sam.pt",
    output_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the labels. The same command again continues it.",
            show_default="DATA_auto_annotate_labels",
        ),
    ] = None,
    format: Annotated[
        str, typer.Option(help="yolo: a text file a photo; coco: one file, run lengths.")
    ] = "yolo",
    conf: Annotated[float, typer.Option(help="Lowest confidence of a detection.")] = 0.25,
    iou: Annotated[
        float, typer.Option(help="Greatest overlap of two detections of one class.")
    ] = 0.45,
    imgsz: Annotated[
        int, typer.Option(help="Longest side of the detector's picture, where it has a choice.")
    ] = 640,
    max_det: Annotated[int, typer.Option(help="Most objects in a photo.")] = 300,
    classes: Annotated[
        str | None,
        typer.Option(help="Numbers of the classes wanted, such as 0,2,7.", show_default="all"),
    ] = None,
    device: Annotated[
        str, typer.Option(help="Where PyTorch computes, such as cuda:0.", show_default="cpu")
    ] = "",
    image_size: OwnImageSize = None,
    runtime: OneRuntime = None,
    engine: Annotated[
        str, typer.Option(help="local: processes of this machine; ray: a Ray cluster.")
    ] = "local",
    workers: Workers = None,
    ray_address: RayAddress = None,
    max_pixels: MaxPixels = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Label every photo of a folder: a detector's boxes become masks, and masks become labels.

    Interrupted at any moment, the same command goes on with what is left. Photos that cannot be
    read are left out and counted.
    """
    if output_dir is not None:
        require_writable_folder(output_dir)
    from mobilesam.annotation.auto import auto_annotate

    done = auto_annotate(
        data,
        det_model,
        sam_model,
        device,
        conf,
        iou,
        imgsz,
        max_det,
        _numbers(classes),
        output_dir,
        format=format,
        image_size=image_size,
        runtime=runtime,
        engine=engine,
        workers=workers,
        ray_address=ray_address,
        progress=not quiet,
    )
    if as_json:
        left_out = [each._asdict() for each in done.left_out]
        print_json(vars(done) | {"output_dir": str(done.output_dir), "left_out": left_out})
    else:
        typer.echo(_said(done))


def _numbers(classes: str | None) -> list[int] | None:
    if classes is None:
        return None
    try:
        return [int(number) for number in classes.split(",") if number.strip()]
    except ValueError:
        raise InputError(f"--classes takes numbers such as 0,2,7, not '{classes}'") from None


def _said(done: "Summary") -> str:
    parts = [f"{done.annotated} of {done.photos} photos annotated, {done.objects} objects"]
    if done.before:
        parts.append(f"{done.before} were before")
    if done.empty:
        parts.append(f"{done.empty} detections without a mask")
    if done.left_out:
        parts.append(f"{len(done.left_out)} photos left out, see left_out.json")
    return f"{done.output_dir}: {'; '.join(parts)}"
