"""What the page's arithmetic is held to beside the numbers that all apps share, as JSON."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from mobilesam.bundle.contract import MASK_VALUE, Contract, pack_image
from mobilesam.everything import MaskGenerator
from mobilesam.inference.prompts import Prompt
from mobilesam.inference.transforms import CHANNEL_ORDERS, ChannelOrder, Frame
from mobilesam.runtimes.base import Decoded, Runner

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
        "everything": [_everything(size) for size in ((64, 64), (45, 90), (150, 41))],
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


POINTS_PER_SIDE = 5


class _Blobs(Runner):
    """Answers each point with soft ellipses around a few places, and remembers the answers."""

    name = "blobs"

    def __init__(self, size: Size) -> None:
        self.answers: list[dict[str, Any]] = []
        self._random = np.random.default_rng(size)
        self._places = self._random.uniform(0, 16, (6, 2))

    @property
    def image_size(self) -> int:
        return 64

    def load(self) -> None: ...

    def unload(self) -> None: ...

    def encode(self, image: np.ndarray) -> np.ndarray:
        return np.zeros(1, np.float32)

    def decode(self, embedding: np.ndarray, prompt: Prompt, frame: Frame) -> Decoded:
        rows, columns = np.indices((16, 16)) + 0.5
        masks = []
        for place in self._random.integers(0, len(self._places), 4):
            y, x = self._places[place] + self._random.normal(0, 0.2, 2)
            high, wide = self._random.uniform(1, 5, 2) + 0.5 * place
            distance = np.hypot((rows - y) / high, (columns - x) / wide)
            masks.append((1 - distance) * self._random.uniform(1, 40))
        low_res = np.array(masks, np.float32)
        iou = self._random.uniform(0.2, 1, 4).astype(np.float32)
        self.answers.append({"iou": iou.tolist(), "low_res": _base64(low_res)})
        return Decoded(low_res, iou)


def _everything(size: Size) -> dict[str, Any]:
    """What the library's generator finds in a photo, and the answers that it found it in."""
    runner = _Blobs(size)
    parameters: dict[str, Any] = {
        "pred_iou_thresh": 0.4,
        "stability_score_thresh": 0.6,
        "box_nms_thresh": 0.7,
    }
    generator = MaskGenerator(
        runner, points_per_side=POINTS_PER_SIDE, output_mode="uncompressed_rle", **parameters
    )
    records = generator.generate(np.zeros((*size, 3), np.uint8))
    assert 5 < len(records) < 3 * POINTS_PER_SIDE**2 / 2, "masks of both fates"
    return {
        "size": size,
        "side": runner.image_size,
        "points_per_side": POINTS_PER_SIDE,
        "parameters": parameters,
        "answers": runner.answers,
        "records": records,
    }


def _base64(array: npt.NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
