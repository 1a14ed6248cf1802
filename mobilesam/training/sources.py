"""Photos with masks, of every kind training reads: loaded when drawn, then kept for a while."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from mobilesam.data.coco_masks import CocoImage
from mobilesam.data.mask_geometry import tight_box
from mobilesam.data.masked_images import MIN_AREA, ImageEntry, read_labels
from mobilesam.errors import ImageError
from mobilesam.inference.images import load_cutout, load_image
from mobilesam.training.samples import Labels, Layer, Pixels, Sample

_THING, _STUFF = 3.0, 1.0  # how often countable things are asked for, relative to stuff
_KEPT = 256  # photos, and label images, kept in memory by each process


@dataclass(frozen=True)
class TrainingPhoto:
    """An image file, reduced on reading so that its longer side is at most ``longest_side``."""

    path: Path
    longest_side: int

    def pixels(self) -> Pixels:
        """[H, W, 3] uint8 RGB. Raises ImageError: it cannot be read."""
        return _loaded(self)[0]

    def full_size(self) -> tuple[int, int]:
        """H, W of the file. Raises ImageError: it cannot be read."""
        return _loaded(self)[1]


class Source(Protocol):
    """A photo with masks."""

    def sample(self) -> Sample:
        """The photo with its layers of masks."""

    def cutouts(self) -> Sequence[int]:
        """Labels of the objects that may be cut out: whole and large enough."""

    def cutout(self, label: int) -> Pixels:
        """One of them, [h, w, 4] uint8 with its mask as alpha."""


@dataclass(frozen=True)
class LabelledPhoto:
    """A photo with a label image, as a manifest describes it."""

    photo: TrainingPhoto
    mask: Path
    entry: ImageEntry

    def sample(self) -> Sample:
        """One layer: segments of a label image do not overlap."""
        wanted = {s.label: _THING if s.thing else _STUFF for s in self.entry.segments}
        pixels = self.photo.pixels()
        return Sample(pixels, (Layer(_labels(self.mask, self.photo), wanted),))

    def cutouts(self) -> list[int]:
        """Good segments of four times the least area."""
        good = (s for s in self.entry.segments if s.is_good and s.area >= 4 * MIN_AREA)
        return [segment.label for segment in good]

    def cutout(self, label: int) -> Pixels:
        """The segment's pixels."""
        sample = self.sample()
        return _cut(sample.pixels, sample.layers[0].labels == label)


@dataclass(frozen=True)
class CocoPhoto:
    """A photo with the instances of a COCO file."""

    photo: TrainingPhoto
    image: CocoImage

    def sample(self) -> Sample:
        """A layer for each instance: instances may overlap.

        Raises InputError: the photo is not of the size that the file says.
        """
        pixels = self._pixels()
        layers = [
            Layer(_nearest(found.mask().astype(np.int32), pixels.shape[:2]), {1: _THING})
            for found in self.image.objects
        ]
        return Sample(pixels, tuple(layers))

    def cutouts(self) -> list[int]:
        """Instances of four times the least area; the file does not say what hides them."""
        objects = enumerate(self.image.objects)
        return [number for number, found in objects if found.area >= 4 * MIN_AREA]

    def cutout(self, label: int) -> Pixels:
        """The instance's pixels."""
        pixels = self._pixels()
        mask = self.image.objects[label].mask().astype(np.int32)
        return _cut(pixels, _nearest(mask, pixels.shape[:2]) > 0)

    def _pixels(self) -> Pixels:
        self.image.require_size(self.photo.path, self.photo.full_size())
        return self.photo.pixels()


@dataclass(frozen=True)
class RegionPhoto:
    """A photo with regions of a classical segmentation, stored as label images [scales, h, w]."""

    photo: TrainingPhoto
    stored: Path

    def sample(self) -> Sample:
        """A layer for each scale."""
        pixels = self.photo.pixels()
        return Sample(pixels, _region_layers(self.stored, pixels.shape[:2]))


@dataclass(frozen=True)
class ObjectFile:
    """An image of one object on a transparent background, reduced as a `TrainingPhoto` is."""

    path: Path
    longest_side: int

    def pixels(self) -> Pixels:
        """The smallest part that holds the object, [h, w, 4] uint8, alpha last.

        Raises ImageError: as :meth:`read`.
        """
        return _object(self)

    def read(self) -> Pixels:
        """The same, and not kept in memory.

        Raises ImageError: it cannot be read, or no object is told from a background.
        """
        pixels = load_cutout(self.path)
        mask = pixels[..., 3] > 127
        if not mask.any() or mask.all():
            what = "no transparency" if mask.any() else "nothing that is not transparent"
            raise ImageError(
                f"'{self.path}' has {what}: data.objects takes images of one object each on a "
                "transparent background"
            )
        x1, y1, x2, y2 = tight_box(mask)
        return _reduced(pixels[y1:y2, x1:x2], self.longest_side)


@lru_cache(_KEPT)
def _object(file: ObjectFile) -> Pixels:
    return file.read()


@lru_cache(_KEPT)
def _loaded(photo: TrainingPhoto) -> tuple[Pixels, tuple[int, int]]:
    """The reduced pixels, and height and width of the file."""
    pixels = load_image(photo.path)
    height, width = pixels.shape[:2]
    return _reduced(pixels, photo.longest_side), (height, width)


def _reduced(pixels: Pixels, longest_side: int) -> Pixels:
    """A copy whose longer side is at most ``longest_side``."""
    height, width = pixels.shape[:2]
    factor = min(1.0, longest_side / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))


@lru_cache(_KEPT)
def _labels(mask: Path, photo: TrainingPhoto) -> Labels:
    labels = read_labels(mask, photo.full_size())
    return _nearest(labels.astype(np.int32), photo.pixels().shape[:2])


@lru_cache(_KEPT)
def _region_layers(stored: Path, size: tuple[int, int]) -> tuple[Layer, ...]:
    with np.load(stored) as file:
        stack = file["labels"]
    return tuple(
        Layer(
            _nearest(labels.astype(np.int32), size),
            {int(label): 1.0 for label in np.unique(labels)},
        )
        for labels in stack
    )


def _nearest(labels: Labels, size: tuple[int, int]) -> Labels:
    """A label image resized to (height, width)."""
    if labels.shape == size:
        return labels
    image = Image.fromarray(labels).resize((size[1], size[0]), Image.Resampling.NEAREST)
    return np.asarray(image)


def _cut(pixels: Pixels, mask: np.ndarray) -> Pixels:
    """The smallest part of an image that holds a mask, [h, w, 4], the mask as alpha."""
    if not mask.any():  # vanished when the photo was reduced
        return np.zeros((1, 1, 4), np.uint8)
    x1, y1, x2, y2 = tight_box(mask)
    part = slice(y1, y2), slice(x1, x2)
    return np.dstack([pixels[part], 255 * mask[part].astype(np.uint8)])
