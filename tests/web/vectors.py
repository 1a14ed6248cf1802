"""What the page's arithmetic is held to beside the numbers that all apps share, as JSON."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from mobilesam.bundle.contract import MASK_VALUE, Contract, pack_image
from mobilesam.inference.transforms import CHANNEL_ORDERS, ChannelOrder, Frame

SIDE = 32
"""Side of the frame, in pixels."""

Size = tuple[int, int]


def write_vectors(path: Path) -> None:
    """Write all of them, computed by the library's own functions."""
    # No pixel of these lies midway between two of the frame, which Pillow rounds either way.
    sizes: tuple[Size, ...] = ((11, 32), (32, 7), (64, 37))
    vectors = {
        "bytes": [
            _bytes(size, order, scales)
            for size in sizes
            for order in CHANNEL_ORDERS
            for scales in (False, True)
        ],
        "full": [_full(size) for size in (*sizes, (32, 32), (9, 5), (101, 2))],
    }
    path.write_text(json.dumps(vectors), "utf-8")


def _bytes(size: Size, order: ChannelOrder, scales: bool) -> dict[str, Any]:
    """An encoder's inputs of variant ``uint8``, of one that scales photos itself or not."""
    photo = np.random.default_rng(size).integers(0, 256, (*size, 3), np.uint8)
    photo_size = size if scales else None
    contract = Contract(SIDE, 16, 256, "uint8", 8, channel_order=order, photo_size=photo_size)
    inputs = pack_image(photo, contract)
    valid = inputs.get("valid_size")
    return {
        "size": size,
        "side": SIDE,
        "order": order,
        "photo_size": photo_size,
        "pixels": _base64(photo),
        "image": _base64(inputs["image"]),
        "shape": inputs["image"].shape,
        "valid_size": None if valid is None else valid.tolist(),
    }


def _full(size: Size) -> dict[str, Any]:
    """A full mask, and what the pages' Python makes of it at the photo's size."""
    low = np.random.default_rng(size).integers(0, 2, (SIDE // 4, SIDE // 4))
    masks = (low.repeat(4, 0).repeat(4, 1) * MASK_VALUE).astype(np.uint8)
    height, width = Frame(size, SIDE).valid_size
    frame = Image.fromarray(masks[:height, :width])
    mask = frame.resize(size[::-1], Image.Resampling.NEAREST)
    return {
        "size": size,
        "side": SIDE,
        "masks": _base64(masks),
        "mask": (np.asarray(mask) == MASK_VALUE).astype(int).ravel().tolist(),
    }


def _base64(array: npt.NDArray[np.uint8]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
