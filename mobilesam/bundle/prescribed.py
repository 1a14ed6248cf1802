"""What a contract prescribes a manifest to say: written by exports, compared by the verdict."""

from dataclasses import asdict
from typing import Any

from mobilesam.bundle.contract import (
    COMPONENTS,
    CONTRACT_VERSION,
    LABELS,
    MASK_VALUE,
    Contract,
)
from mobilesam.bundle.manifest import SignatureRecord
from mobilesam.inference.transforms import MASK_THRESHOLD, PIXEL_MEAN, PIXEL_STD


def prescribed(contract: Contract) -> dict[str, Any]:
    """The fields of :class:`mobilesam.bundle.manifest.Manifest` that follow from the contract."""
    return {
        "contract_version": CONTRACT_VERSION,
        **asdict(contract),
        "signatures": {c: SignatureRecord.of(contract.signature(c)) for c in COMPONENTS},
        "preprocessing": _preprocessing(contract),
        "postprocessing": _postprocessing(contract),
        "labels": LABELS,
    }


def _postprocessing(contract: Contract) -> dict[str, str | float]:
    steps: dict[str, str | float] = {
        "upscale": f"low-res logits to {contract.image_size} x {contract.image_size}, bilinear, "
        "align_corners false",
        "crop": "to the valid size, top-left",
        "resize": "to the photo's size, bilinear, align_corners false",
        "threshold": MASK_THRESHOLD,
        "mask": "logit greater than the threshold",
        "choice": "one point, no box, no mask input: the best iou_predictions of masks 1 to 3; "
        "otherwise mask 0",
    }
    by_graph: tuple[str, ...] = ()
    if contract.interface == "sam":
        by_graph = ("upscale", "crop", "resize", "choice")
    elif contract.masks == "full":
        by_graph = ("upscale", "choice")
        steps |= {
            "resize": "to the photo's size, nearest",
            "threshold": MASK_VALUE / 2,
            "mask": f"value {MASK_VALUE}, others are 0",
        }
    return steps | {name: f"by the graph: {steps[name]}" for name in by_graph}


def _preprocessing(contract: Contract) -> dict[str, str | list[float]]:
    size = contract.image_size
    by_graph = contract.graph_normalises
    of_bytes = contract.input_variant == "uint8"
    padded = "right and bottom, with zeros, after normalising"
    if by_graph:
        filled = "anything" if of_bytes else "zeros"
        padded = (
            f"right and bottom, with {filled}; the graph normalises and makes padding exact zeros"
        )
    values = "0 to 255" if by_graph else "(value - mean) / std"
    if of_bytes:
        values += ", uint8, all values of a pixel side by side"
    place = "top-left"
    resize = (
        f"longest side to {size}: factor = {size} / max(height, width), each side "
        "int(side * factor + 0.5), bilinear with antialiasing (Pillow's BILINEAR)"
    )
    if contract.photo_size is not None:
        padded = "by the graph: right and bottom, with zeros, after normalising"
        resize, place = f"by the graph: {resize}", f"by the graph: {place}"
    if contract.interface == "sam":
        padded = "by the graph: right and bottom, with zeros, after normalising"
    return {
        "colour": contract.channel_order.upper(),
        "resize": resize,
        "place": place,
        "pad": padded,
        "values": values,
        "normalised_by": "graph" if by_graph else "app",
        "mean": list(PIXEL_MEAN),
        "std": list(PIXEL_STD),
        "points": "multiplied per axis by scaled side / original side; the graph adds the half "
        "pixel",
    }
