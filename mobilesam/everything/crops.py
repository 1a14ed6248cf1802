"""The parts of a photo that are asked about: all of it, and crops that overlap."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mobilesam.errors import InputError
from mobilesam.inference.images import MIN_SIDE

Boxes = npt.NDArray[np.int64]
"""[N, 4], x1, y1, x2, y2."""

NEAR_EDGE = 20
"""Pixels from a crop's edge within which a mask counts as cut off by it."""


class Crop(NamedTuple):
    """A part of a photo, in its pixels; the right and lower edges are not part of it.

    Attributes:
        layer: 0 for the whole photo.
    """

    x1: int
    y1: int
    x2: int
    y2: int
    layer: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x1, y1, x2, y2."""
        return self[:4]

    @property
    def area(self) -> int:
        """In pixels."""
        return (self.x2 - self.x1) * (self.y2 - self.y1)

    def of(self, pixels: np.ndarray) -> np.ndarray:
        """This part of a photo HxWx3."""
        return np.ascontiguousarray(pixels[self.y1 : self.y2, self.x1 : self.x2])


def crops_of(size: tuple[int, int], layers: int, overlap_ratio: float) -> list[Crop]:
    """The whole photo, then 2**n x 2**n crops for each layer n, column by column.

    Args:
        size: height and width of the photo.
        layers: how many beside the photo.
        overlap_ratio: of neighbours in layer 1, of the photo's short side; halved in each layer
            after it.

    Raises:
        InputError: the last layer's crops would be narrower than a photo may be.
    """
    height, width = size
    most = (min(size) // MIN_SIDE).bit_length() - 1
    if layers > most:
        raise InputError(
            f"crop_n_layers is {layers}, and a photo of {width} x {height} pixels can be cut into "
            f"crops at most {most} times"
        )
    crops = [Crop(0, 0, width, height, 0)]
    for layer in range(1, layers + 1):
        count = 2**layer
        overlap = int(overlap_ratio * min(height, width) * (2 / count))
        crop_width, crop_height = (_side(length, count, overlap) for length in (width, height))
        for column in range(count):
            for row in range(count):
                x, y = column * (crop_width - overlap), row * (crop_height - overlap)
                right, bottom = min(x + crop_width, width), min(y + crop_height, height)
                crops.append(Crop(x, y, right, bottom, layer))
    return crops


def cut_off(boxes: Boxes, crop: Crop, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Which boxes come near an edge of the crop that is not near the photo's own edge, [N].

    Args:
        boxes: in pixels of the photo.
        crop: that they were found in.
        size: height and width of the photo.
    """
    height, width = size
    at_crop = np.abs(boxes - np.array(crop.box)) <= NEAR_EDGE
    at_photo = np.abs(boxes - np.array([0, 0, width, height])) <= NEAR_EDGE
    cut: npt.NDArray[np.bool_] = (at_crop & ~at_photo).any(axis=1)
    return cut


def _side(length: int, count: int, overlap: int) -> int:
    """Pixels of one of so many overlapping crops along a side."""
    return math.ceil((overlap * (count - 1) + length) / count)
