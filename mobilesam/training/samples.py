"""A training image with the masks that may be asked for, whatever source it came from."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

Labels = npt.NDArray[np.int32]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Layer:
    """Masks that do not overlap.

    Attributes:
        labels: [H, W] int32, the label of each pixel.
        wanted: how often each label is asked for, relative to the others; other labels are not.
        full_areas: pixels of a label before nearer ones were painted over it, where known.
    """

    labels: Labels
    wanted: dict[int, float]
    full_areas: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """One image with its layers of masks.

    Attributes:
        pixels: [H, W, 3] uint8 RGB.
        layers: label images of the same H, W; masks of different layers may overlap.
    """

    pixels: Pixels
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Choice:
    """One mask that a view offers: its layer, its label and how often it is to be drawn."""

    layer: int
    label: int
    weight: float


def choices(sample: Sample, min_share: float, max_share: float = 0.95) -> list[Choice]:
    """The wanted masks that cover between ``min_share`` and ``max_share`` of the image."""
    found = []
    for index, layer in enumerate(sample.layers):
        if not layer.wanted:
            continue
        areas = np.bincount(layer.labels.ravel(), minlength=max(layer.wanted) + 1)
        low, high = max(1, min_share * layer.labels.size), max_share * layer.labels.size
        found += [
            Choice(index, label, weight)
            for label, weight in layer.wanted.items()
            if low <= areas[label] <= high
        ]
    return found


def crop_and_resize(
    sample: Sample, box: tuple[float, float, float, float], size: tuple[int, int]
) -> Sample:
    """The part of a sample inside box (x1, y1, x2, y2, pixels), resized to size (height, width).

    The image is resampled bilinearly with antialiasing, as SAM's preprocessing does; labels take
    the nearest pixel.
    """
    shape = (size[1], size[0])
    pixels = Image.fromarray(sample.pixels).resize(shape, Image.Resampling.BILINEAR, box)
    layers = tuple(
        Layer(
            np.asarray(Image.fromarray(layer.labels).resize(shape, Image.Resampling.NEAREST, box)),
            layer.wanted,
        )
        for layer in sample.layers
    )
    return Sample(np.asarray(pixels), layers)


def mirrored(sample: Sample) -> Sample:
    """The sample flipped left to right."""
    layers = tuple(
        Layer(np.ascontiguousarray(layer.labels[:, ::-1]), layer.wanted) for layer in sample.layers
    )
    return Sample(np.ascontiguousarray(sample.pixels[:, ::-1]), layers)
