"""Pillow's resampling of 8-bit images as numbers: which pixels make a new one, with what weights.

Pillow scales one axis after the other, and rounds to 8 bits after each. Its weights are whole
numbers of 2**-22, so that everything here is exact. Sources: Pillow's documentation of ``Image.
resize`` and the definition of its filters; that the numbers are Pillow's is tested against it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from mobilesam.errors import InputError

PRECISION = 22
"""Bits of a weight behind the point."""

Kernel = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
"""The weight of a pixel by its distance from the new pixel's centre, in pixels of the coarser."""


@dataclass(frozen=True)
class Taps:
    """How each of N new pixels of one axis is made of T old ones.

    Attributes:
        index: [T, N] int64: places of old pixels, all of them within the image.
        weight: [T, N] int64: in 2**-22; zero for a place that a new pixel has no use for.
    """

    index: npt.NDArray[np.int64]
    weight: npt.NDArray[np.int64]


def triangle(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The kernel of Pillow's ``BILINEAR``."""
    return np.maximum(0.0, 1.0 - np.abs(distance))


def taps(old: int, new: int, kernel: Kernel = triangle, reach: float = 1.0) -> Taps:
    """How Pillow makes ``new`` pixels of ``old`` ones.

    Args:
        old, new: pixels of an axis.
        kernel: the filter; it widens where an axis shrinks.
        reach: distance from which on the kernel is zero.
    """
    scale = old / new
    widened = max(scale, 1.0)
    centres = (np.arange(new) + 0.5) * scale
    first = np.maximum((centres - reach * widened + 0.5).astype(int), 0)
    end = np.minimum((centres + reach * widened + 0.5).astype(int), old)
    places = first + np.arange(int((end - first).max()))[:, None]
    share = np.where(places < end, kernel((places - centres + 0.5) / widened), 0.0)
    share /= share.sum(axis=0)
    whole = np.trunc(share * 2**PRECISION + np.copysign(0.5, share)).astype(np.int64)
    return Taps(np.minimum(places, old - 1), whole)


def resampled(image: np.ndarray, axis: int, made: Taps) -> np.ndarray:
    """A uint8 image with one axis resampled and rounded, halves upwards."""
    pixels = np.moveaxis(image, axis, 0)
    total = np.full((made.index.shape[1], *pixels.shape[1:]), 1 << (PRECISION - 1), np.int64)
    for index, weight in zip(made.index, made.weight, strict=True):
        total += pixels[index] * weight.reshape(-1, *[1] * (pixels.ndim - 1))
    return np.moveaxis(np.clip(total >> PRECISION, 0, 255).astype(np.uint8), 0, axis)


def pillow_axes(old: tuple[int, int], new: tuple[int, int]) -> tuple[int, int]:
    """Which axis Pillow's ``BILINEAR`` scales first, and which then: 0 is rows, 1 columns.

    The order is seen in the rounding alone. Pillow takes columns first, but for some tall, narrow
    images; which ones is its own affair and may change, so it is asked.

    Args:
        old, new: (H, W) before and after.

    Raises:
        InputError: Pillow scales in neither order, which no version known does.
    """
    image = np.random.default_rng(0).integers(0, 256, (*old, 1), np.uint8)
    size = (new[1], new[0])
    wanted = np.array(Image.fromarray(image[..., 0]).resize(size, Image.Resampling.BILINEAR))
    for axes in ((1, 0), (0, 1)):
        found = image
        for axis in axes:
            found = resampled(found, axis, taps(old[axis], new[axis]))
        if np.array_equal(found[..., 0], wanted):
            return axes
    raise InputError("the Pillow that is installed scales by numbers of its own: use Pillow 13")
