"""Which faults of a file no photo of a run can show: a gray photo looks the same in BGR."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from mobilesam.inference.transforms import resize_longest_side
from mobilesam.model.normalization import PIXEL_STD
from parity.photos import StoredPhoto, is_strip, read_pixels

Floats = npt.NDArray[np.float64]

SIDE = 128
"""Pixels of the longest side at which photos are looked at."""

SEEN = 0.02
"""Root mean square, in units of the normalized image, from which a change counts as seen: about one
of 255 levels, less than any scheme of eight bits keeps."""

CONTRAST = 0.9
"""Contrast that a wrong normalization leaves, at which it must be seen."""

MIRRORED: dict[str, Callable[[Floats], Floats]] = {
    "left to right": lambda image: image[:, ::-1],
    "upside down": lambda image: image[::-1],
    "along its diagonal": lambda image: image.transpose(1, 0, 2),
}
SHIFTED: dict[str, Callable[[Floats], Floats]] = {
    "sideways": lambda image: np.concatenate([image[:, :1], image[:, :-1]], axis=1),
    "up or down": lambda image: np.concatenate([image[:1], image[:-1]], axis=0),
}
"""Changes of an image [h, w, 3], a pixel of SIDE far."""


def hidden_faults(photos: Sequence[StoredPhoto]) -> list[str]:
    """A sentence for each kind of fault that none of the photos can show.

    A fault counts as shown where one photo, SIDE pixels long, changes with it by at least SEEN.
    The strips that a run cuts from its photos count for padding alone: they hold nothing new.

    Args:
        photos: of the run; those whose pixels cannot be read any more are passed over.
    """
    seen: set[str] = set()
    some = False
    for photo in photos:
        pixels = read_pixels(photo)
        if pixels is None:
            continue
        shown = _shown(pixels)
        seen |= shown & {"padding"} if is_strip(photo.name) else shown
        some = True
    return _sentences(seen) if some else []


def _shown(pixels: np.ndarray) -> set[str]:
    """Names of the faults that one photo, HxWx3 uint8 RGB, shows."""
    image = resize_longest_side(pixels, SIDE).astype(np.float64)
    changes: dict[str, Callable[[Floats], Floats]] = {
        "colours": lambda image: image[..., ::-1],
        "contrast": lambda image: CONTRAST * (image - image.mean((0, 1))) + image.mean((0, 1)),
        **MIRRORED,
        **SHIFTED,
    }
    shown = {name for name, change in changes.items() if _differs(image, change(image))}
    return shown | {"padding"} if image.shape[0] != image.shape[1] else shown


def _differs(image: Floats, changed: Floats) -> bool:
    """Whether two images [h, w, 3], 0 to 255, differ visibly once the model normalizes them."""
    if image.shape != changed.shape:
        return True
    difference = (image - changed) / np.array(PIXEL_STD)
    return bool(np.sqrt(np.mean(difference**2)) >= SEEN)


def _sentences(seen: set[str]) -> list[str]:
    mirrored = [way for way in MIRRORED if way not in seen]
    shifted = [way for way in SHIFTED if way not in seen]
    found = {
        "red and blue exchanged: all are gray": "colours" not in seen,
        "wrong padding: all are square, so that nothing is padded": "padding" not in seen,
        f"an image mirrored {_either(mirrored)}: each looks the same then": bool(mirrored),
        f"an image shifted {_either(shifted)}: each looks the same then": bool(shifted),
        "wrong contrast or a missing normalization: each is of one colour": "contrast" not in seen,
    }
    return [f"No photo can show {what}." for what, hidden in found.items() if hidden]


def _either(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
