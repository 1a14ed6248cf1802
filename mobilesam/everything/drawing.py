"""All masks of a photo in one picture."""

import colorsys
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from PIL import Image

STRENGTH = 0.45
"""How much of its colour a mask gives to the photo below it."""

GOLDEN = 0.618034
"""Turns of the colour circle from one mask to the next: neighbours in the list look different."""


def draw_everything(
    image: npt.NDArray[np.uint8], masks: Iterable[npt.NDArray[np.bool_]]
) -> Image.Image:
    """The photo with every mask tinted in a colour of its own and outlined.

    Args:
        image: HxWx3 RGB.
        masks: HxW each; later ones are drawn over earlier ones, so give the largest first.
    """
    picture = image.copy()
    for index, mask in enumerate(masks):
        colour = np.array(colorsys.hsv_to_rgb(index * GOLDEN % 1, 0.75, 1.0)) * 255
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            continue
        here = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        part, inside = picture[here], mask[here]
        part[inside] = (part[inside] * (1 - STRENGTH) + colour * STRENGTH).round()
        part[_edge(inside)] = colour.round()
    return Image.fromarray(picture)


def _edge(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The mask's pixels that have one beside, above or below them that is not mask."""
    padded = np.pad(mask, 1)
    surrounded = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~surrounded
