"""`mobilesam export`: checkpoint in, bundles out."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mobilesam.bundle.compute_units import ComputeUnits
from mobilesam.errors import InputError
from mobilesam.weights.demo import DEMO
from mobilesam_cli.options import (
    ImageSize,
    Json,
    MaxPixels,
    Weights,
    WeightsKey,
    keyed,
    listed,
    print_json,
    require_writable_folder,
    say_demo,
)

if TYPE_CHECKING:
    from mobilesam.runtimes.bundle import Bundle


def export(
    target: Annotated[
        list[str], typer.Option(help="Targets, comma-separated or repeated; or all.")
    ] = ["all"],  # noqa: B006 - Typer reads the default and never changes it
    scheme: Annotated[
        list[str] | None,
        typer.Option(
            help="Schemes, comma-separated or repeated; or all; or a scheme file, as "
            "`mobilesam search` writes one.",
            show_default="all a target has",
        ),
    ] = None,
    weights: Weights = "demo",
    weights_key: WeightsKey = None,
    out: Annotated[Path, typer.Option(help="Folder for the bundles.")] = Path("exports"),
    image_size: ImageSize = 1024,
    input_variant: Annotated[
        Literal["pixels", "normalized", "uint8"],
        typer.Option(
            "--input",
            help="What the encoder takes: float planes that the graph normalises (pixels) or the "
            "app (normalized), or the app's own 8-bit pixels (uint8; Core ML: a pixel buffer).",
        ),
    ] = "pixels",
    channel_order: Annotated[
        Literal["rgb", "bgr", "rgba"], typer.Option(help="Of --input uint8: a pixel's values.")
    ] = "rgb",
    resize: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            help="Of --input uint8: the encoder takes photos of so many rows and columns, such as "
            "1080x1920, and scales and pads them itself, exactly as Pillow does.",
            show_default="the app scales photos of any size",
        ),
    ] = None,
    masks: Annotated[
        Literal["low_res", "full"],
        typer.Option(
            help="What the decoder gives: logits of four masks (low_res), or the mask that SAM "
            "shows, as large as the frame, 8 bits a pixel (full; not Core ML)."
        ),
    ] = "low_res",
    slots: Annotated[
        int, typer.Option(min=2, max=64, help="Point slots of the decoder; a box takes two.")
    ] = 8,
    ios: Annotated[
        int | None,
        typer.Option(
            help="Core ML: oldest iOS served, 16, 17 or 18.", show_default="oldest possible"
        ),
    ] = None,
    coreml_input: Annotated[
        Literal["tensor", "image"],
        typer.Option(help="Core ML: the image as a multi-array or as an RGB pixel buffer."),
    ] = "tensor",
    coreml_slots: Annotated[
        Literal["fixed", "range", "enumerated"],
        typer.Option(
            help="Core ML: a decoder of K point slots, of any number up to K (RangeDim), or of "
            "some (EnumeratedShapes, iOS 18)."
        ),
    ] = "fixed",
    coreml_package: Annotated[
        Literal["separate", "multifunction"],
        typer.Option(help="Core ML: two packages, or one with two functions (iOS 18)."),
    ] = "separate",
    compute_units: Annotated[
        ComputeUnits,
        typer.Option(case_sensitive=False, help="Core ML: what it is meant to run on; recorded."),
    ] = "all",
    embedding: Annotated[
        Literal["float32", "float16"],
        typer.Option(
            help="What goes from the encoder to the decoder; float16, half as large, where both "
            "compute in it: Core ML and ONNX fp16."
        ),
    ] = "float32",
    opset: Annotated[int, typer.Option(help="ONNX: operator set, 18 to 21.")] = 20,
    onnx_interface: Annotated[
        Literal["mobilesam", "sam"],
        typer.Option(
            help="ONNX: the tensors of every other target, or those of SAM's own ONNX export, for "
            "AnyLabeling, samexporter and CVAT."
        ),
    ] = "mobilesam",
    points_decoder: Annotated[
        bool,
        typer.Option(
            "--points-decoder",
            help="ONNX fp32: also a decoder for many clicks on a photo, which `mobilesam "
            "everything` then uses.",
        ),
    ] = False,
    executorch_backend: Annotated[
        Literal["xnnpack", "coreml"],
        typer.Option(help="ExecuTorch: XNNPACK for CPUs, or Core ML for Apple's devices."),
    ] = "xnnpack",
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Folder of photos to calibrate w8a8 and w8a16 on.",
            show_default="scikit-image's photos",
        ),
    ] = None,
    calibration_method: Annotated[
        Literal["min-max", "moving-average", "mse", "entropy"],
        typer.Option(help="How the ranges of w8a8 and w8a16 are found."),
    ] = "min-max",
    distilled: Annotated[
        Path | None,
        typer.Option(
            help="TFLite: encoder weights that `mobilesam distill` tuned for the scheme.",
            show_default="those of --weights",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Export again what is unchanged.")] = False,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Bundles exported at once.", show_default="chosen here"),
    ] = None,
    max_pixels: MaxPixels = None,
    as_json: Json = False,
) -> None:
    """Export encoder and decoder to bundles, one folder for each target and scheme."""
    from converters import export as run_export
    from converters.coreml.options import CoreMLOptions
    from converters.executorch.options import ExecuTorchOptions
    from converters.onnx.options import ONNXOptions
    from converters.schemes import COREML, EXECUTORCH, ONNX
    from mobilesam.runtimes.bundle import Bundle

    require_writable_folder(out)
    if points_decoder:
        _require_points(listed(target), listed(scheme), onnx_interface)
    coreml = CoreMLOptions(
        ios=ios,
        input=coreml_input,
        slots=coreml_slots,
        package=coreml_package,
        compute_units=compute_units,
    )
    results = run_export(
        keyed(weights, weights_key) or DEMO,
        targets=listed(target),
        schemes=None if scheme is None else listed(scheme),
        out=out,
        image_size=image_size,
        input_variant=input_variant,
        channel_order=channel_order,
        masks=masks,
        photo_size=_photo_size(resize),
        embedding_type=embedding,
        slots=slots,
        options={
            COREML: coreml,
            ONNX: ONNXOptions(opset=opset, interface=onnx_interface),
            EXECUTORCH: ExecuTorchOptions(backend=executorch_backend),
        },
        calibration=calibration,
        calibration_method=calibration_method,
        distilled=distilled,
        force=force,
        progress=not as_json,
        jobs=jobs,
    )
    bundles = [Bundle(result.path) for result in results]
    if points_decoder:
        _add_points_decoders(bundles, keyed(weights, weights_key) or DEMO, force)
    rows = [
        {
            "path": str(result.path),
            "target": result.target,
            "scheme": result.scheme,
            "skipped": result.skipped,
            "seconds": round(result.seconds, 2),
            "size_bytes": {name: bundle.size_bytes(name) for name in bundle.runtimes},
        }
        for result, bundle in zip(results, bundles, strict=True)
    ]
    if any(bundle.manifest.weights.name == DEMO for bundle in bundles):
        say_demo()
    if as_json:
        print_json(rows)
        return
    _print_table(rows)


def _photo_size(text: str | None) -> tuple[int, int] | None:
    """Rows and columns, as in 1080x1920."""
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,6})[xX×]([0-9]{1,6})", text)
    if found is None:
        raise InputError(f"--resize takes height x width in pixels, as in 1080x1920, not '{text}'")
    return int(found[1]), int(found[2])


def _require_points(targets: list[str], schemes: list[str], interface: str) -> None:
    """Check that a bundle is asked for which can have a points decoder."""
    from converters.schemes import ALL, ONNX

    asked = {ONNX, ALL} & {*targets} and (not schemes or {"fp32", ALL} & {*schemes})
    if not asked or interface == "sam":
        raise InputError(
            "--points-decoder is for target onnx, scheme fp32 and the interface mobilesam: ask for "
            "those too"
        )


def _add_points_decoders(bundles: "list[Bundle]", weights: str, force: bool) -> None:
    """Add it to the bundles that can have one, and have none of their own yet."""
    from converters.points.export import add_points_decoder, has_points_decoder

    for bundle in bundles:
        if bundle.name == "onnx-fp32" and (force or not has_points_decoder(bundle)):
            add_points_decoder(bundle, weights)


def _print_table(rows: list[dict]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Bundles", title_justify="left")
    table.add_column("bundle", overflow="fold")
    table.add_column("MB", justify="right")
    table.add_column("seconds", justify="right")
    for row in rows:
        size = " / ".join(f"{size / 1e6:.1f}" for size in row["size_bytes"].values())
        took = "unchanged" if row["skipped"] else f"{row['seconds']:.0f}"
        table.add_row(Text(row["path"]), size, took)
    Console().print(table)
