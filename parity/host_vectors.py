"""What an app must compute around the files, as numbers: the vectors the Swift tests compare with.

They come from the library's own functions, need no bundle, and use small frames so that they fit
in one JSON file. To write them again after a change:

    python -m parity.host_vectors apps/apple/Tests/MobileSAMTests/Fixtures/vectors.json
"""

import base64
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mobilesam.bundle.contract import Contract, pack_prompt
from mobilesam.errors import ImageError, PromptError
from mobilesam.inference.predictor import choose_mask
from mobilesam.inference.prompts import Prompt, make_prompt
from mobilesam.inference.transforms import (
    MASK_THRESHOLD,
    Frame,
    normalized_input,
    pixels_input,
    resize_longest_side,
    upscale_logits,
)

SIDE = 32
"""Side of the frame of those vectors that hold images or logits, in pixels."""

LOGIT_TOLERANCE = 1e-4
"""Most a logit at the photo's size may differ: float32 rounds otherwise on other processors."""

Size = tuple[int, int]
Vector = dict[str, Any]

# Height and width. In a frame of 896 the last ones tell side * (S / longest), which is SAM's, from
# side * S / longest.
SIZES: tuple[Size, ...] = (
    *((480, 640), (640, 480), (1024, 1024), (1, 1), (2, 2), (37, 1400), (1400, 37)),
    *((3024, 4032), (4032, 3024), (1080, 1920), (333, 777), (1023, 1025), (17, 5), (1, 2048)),
    *((3, 2048), (5, 2048), (2048, 7), (1, 2049), (4096, 1), (1, 100000)),
    *((45, 1280), (165, 1280), (1280, 355)),
)
FRAME_SIDES = (1024, 896, 32)

UPSCALED: tuple[Size, ...] = (
    *((32, 32), (33, 21), (17, 40), (9, 5), (5, 9), (64, 48), (3, 97), (101, 2)),
)

# With the most levels a value may differ: Pillow 13 scales some tall, narrow photos down first and
# then across, all others across first, and rounds to whole levels in between.
SCALED: tuple[tuple[Size, int], ...] = (
    *(((32, 32), 0), ((7, 5), 0), ((50, 37), 0), ((37, 50), 0), ((64, 64), 0)),
    *(((3, 90), 0), ((90, 3), 1), ((31, 32), 0), ((33, 33), 0)),
)


def vectors() -> Vector:
    """Every vector, as the JSON file holds them. Same on every machine but for the logits' noise.

    Byte arrays are base64; masks are strings of 0 and 1, one a row; ``null`` stands for an input
    that is refused.
    """
    return {
        "logit_tolerance": LOGIT_TOLERANCE,
        "frames": [_frame(size, side) for side in FRAME_SIDES for size in SIZES],
        "prompts": [_prompt(*row) for row in _prompt_rows()],
        "choices": [_choice(iou, ambiguous) for iou in _ious() for ambiguous in (True, False)],
        "scaling": [_scaling(size, levels) for size, levels in SCALED],
        "planes": [_planes(size) for size in ((11, 16), (16, 5))],
        "upscaling": [_upscaling(size, kind) for kind in LOGITS for size in UPSCALED],
    }


def write(path: Path) -> None:
    """Write the vectors to a JSON file, one a line."""
    lines = []
    for name, value in vectors().items():
        rows = value if isinstance(value, list) else None
        body = (
            json.dumps(value)
            if rows is None
            else "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]"
        )
        lines.append(f"{json.dumps(name)}: {body}")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


def _frame(size: Size, side: int) -> Vector:
    try:
        valid: list[int] | None = list(Frame(size, side).valid_size)
    except ImageError:
        valid = None
    return {"size": list(size), "side": side, "valid_size": valid}


_Points = Sequence[Sequence[float]]
_PromptRow = tuple[Size, _Points, list[int], list[float] | None, bool, list[int]]


def _prompt_rows() -> list[_PromptRow]:
    """Photo, points, labels, box, whether earlier logits are given, accepted numbers of slots."""
    photo, tall, fixed, several = (300, 451), (1400, 37), [8], [16, 4, 8]
    one, many = [[100.3, 50.7]], [[10.0 * i + 0.1, 7.5 * i] for i in range(7)]
    box = [10.2, 20.0, 300.5, 199.9]
    return [
        (photo, one, [1], None, False, fixed),
        (photo, one, [0], None, False, several),
        (photo, [*one, [7.5, 280]], [1, 0], None, False, fixed),
        (photo, many, [1, 0, 1, 0, 1, 0, 1], None, False, fixed),
        (photo, many, [1] * 7, None, False, several),
        (photo, many[:3], [1, 1, 0], None, False, several),
        (photo, many[:4], [1, 1, 0, 0], None, False, several),
        (photo, [], [], box, False, fixed),
        (photo, [], [], box, False, several),
        (photo, one, [1], box, False, fixed),
        (photo, many[:6], [1, 1, 1, 0, 0, 0], box, False, fixed),
        (photo, many, [1] * 7, box, False, fixed),
        (photo, many, [1] * 7, box, False, several),
        (photo, one, [1], None, True, fixed),
        (photo, [], [], None, True, several),
        (photo, [], [], box, True, fixed),
        (photo, [], [], None, False, fixed),
        (photo, [[0, 0]], [1], None, False, fixed),
        (photo, [[451, 300]], [1], None, False, fixed),
        (photo, [[451.5, 300]], [1], None, False, fixed),
        (photo, [[-0.1, 3]], [1], None, False, fixed),
        (photo, [], [], [-20, -3.5, 1000, 150], False, fixed),
        (photo, [], [], [300, 20, 10, 200], False, fixed),
        (photo, [], [], [10, 20, 10, 200], False, fixed),
        (photo, [], [], [460, 20, 480, 200], False, fixed),
        (tall, [[18.4, 1399.9]], [1], None, False, fixed),
        (tall, [], [], [0, 700, 37, 701], False, [2, 3]),
        ((1, 1), [[0.5, 0.5]], [1], None, False, fixed),
        ((4032, 3024), [[1511.9, 2016.1], [3.3, 4031.7]], [1, 0], None, False, fixed),
    ]


def _prompt(
    size: Size,
    points: _Points,
    labels: list[int],
    box: list[float] | None,
    refines: bool,
    slot_counts: list[int],
) -> Vector:
    frame = Frame(size, 1024)
    given: Vector = {
        "size": list(size),
        "side": frame.image_size,
        "points": points,
        "labels": labels,
        "box": box,
        "earlier_logits": refines,
        "slot_counts": slot_counts,
    }
    logits = np.zeros((256, 256), np.float32) if refines else None
    try:
        prompt = make_prompt(points or None, labels or None, box, logits, original_size=size)
        packed = _pack(prompt, frame, slot_counts)
    except PromptError:
        return given | {"coords": None, "slot_labels": None, "ambiguous": None}
    return given | {
        "coords": packed["point_coords"].ravel().tolist(),
        "slot_labels": packed["point_labels"].ravel().tolist(),
        "ambiguous": prompt.is_ambiguous,
    }


def _pack(prompt: Prompt, frame: Frame, slot_counts: Sequence[int]) -> dict[str, np.ndarray]:
    """The prompt in the smallest accepted number of slots that holds it."""
    counts = tuple(sorted(slot_counts))
    contract = Contract(frame.image_size, 16, 256, "pixels", counts[-1], counts)
    return pack_prompt(prompt, frame, contract)


def _ious() -> list[list[float]]:
    """Predicted IoUs of the four masks: each place best, ties, and values out of range."""
    return [
        [0.9, 0.1, 0.3, 0.2],
        [0.1, 0.7, 0.3, 0.2],
        [0.1, 0.2, 0.3, 0.7],
        [0.0, 0.5, 0.5, 0.5],
        [0.0, 0.25, 0.5, 0.5],
        [0.0, 0.5, 0.25, 0.5],
        [1.5, -0.5, -0.25, -0.75],
        [0.0, 0.0, 0.0, 0.0],
    ]


def _choice(iou: list[float], ambiguous: bool) -> Vector:
    points = np.zeros((1 if ambiguous else 2, 2), np.float32)
    prompt = Prompt(points, np.ones(len(points), np.float32))
    return {"iou": iou, "ambiguous": ambiguous, "chosen": choose_mask(prompt, np.array(iou))}


def _photo(size: Size) -> npt.NDArray[np.uint8]:
    """A seeded photo with flat areas, edges to both ends of the range, and noise."""
    rng = np.random.default_rng(size[0] * 1000 + size[1])
    rows, columns = np.indices(size)
    pixels = rng.integers(0, 256, (*size, 3))
    pixels[(rows + columns) % 7 < 3] = 255
    pixels[(rows * 2 + columns) % 11 < 2] = 0
    return pixels.astype(np.uint8)


def _scaling(size: Size, levels: int) -> Vector:
    photo = _photo(size)
    scaled = resize_longest_side(photo, SIDE)
    return {
        "size": list(size),
        "side": SIDE,
        "pixels": _base64(photo),
        "scaled_size": list(scaled.shape[:2]),
        "scaled": _base64(scaled),
        "levels": levels,
    }


def _planes(size: Size) -> Vector:
    """The encoder's inputs for a photo that has the frame's size already."""
    photo = _photo(size)
    image, valid_size = pixels_input(photo, max(size))
    return {
        "size": list(size),
        "side": max(size),
        "pixels": _base64(photo),
        "planes": _base64(image.astype(np.uint8)),
        "valid_size": valid_size.tolist(),
        "normalized": normalized_input(photo, max(size)).ravel().tolist(),
    }


def _smooth(rng: np.random.Generator) -> npt.NDArray[np.float32]:
    return (rng.integers(-64, 65, (SIDE // 4, SIDE // 4)) / 8).astype(np.float32)


def _around_zero(rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Zeros, which are not mask, with a blob and a hole: their outlines run along the zeros."""
    logits = np.zeros((SIDE // 4, SIDE // 4), np.float32)
    logits[1:3, 2:5] = 4
    logits[5:7, 3:6] = -4
    return logits


LOGITS = {"random": _smooth, "zeros around a blob and a hole": _around_zero}


def _upscaling(size: Size, kind: str) -> Vector:
    low_res = LOGITS[kind](np.random.default_rng(size[0] * 1000 + size[1]))
    frame = Frame(size, SIDE)
    logits = upscale_logits(torch.from_numpy(low_res)[None, None], frame)[0, 0].numpy()
    mask = logits > MASK_THRESHOLD
    return {
        "kind": kind,
        "size": list(size),
        "side": SIDE,
        "low_res": low_res.ravel().tolist(),
        "logits": np.round(logits.astype(np.float64), 6).ravel().tolist(),
        "mask": ["".join("01"[value] for value in row) for row in mask.astype(int)],
    }


def _base64(array: npt.NDArray[np.uint8]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
