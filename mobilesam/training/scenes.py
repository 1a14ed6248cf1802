"""Synthetic scenes: shapes, cut-outs of real objects and drawn objects, pasted onto photographs.

Each object hides what lies behind it, so the masks are exact. Objects range from a tenth to nearly
all of the frame, are lit, cast shadows and have soft edges; the whole picture is then relit and
worn as cameras and files do.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from mobilesam.training.photometric import Random, pick, recoloured, relit, worn
from mobilesam.training.samples import Layer, Pixels, Sample
from mobilesam.training.shapes import random_shape, random_surface
from mobilesam.training.sources import ObjectFile, Source, TrainingPhoto

MIN_VISIBLE = 0.4
"""Share of an object that must still be seen for its mask to be asked for."""

_SMALLEST, _LARGEST = 0.1, 0.95  # of the frame's longer side
_LARGEST_ADDED = 0.5  # of the objects pasted onto a photo whose own masks are asked for


@dataclass(frozen=True)
class SceneMaker:
    """Composes scenes.

    Attributes:
        photos: backgrounds and surfaces.
        cutouts: objects, each the label of one in a photo with masks.
        objects: files of one object each; where there are both, either kind is drawn half the time.
    """

    photos: Sequence[TrainingPhoto]
    cutouts: Sequence[tuple[Source, int]]
    objects: Sequence[ObjectFile] = ()

    def framed(self, random: Random, side: int) -> Sample:
        """A scene whose longer side is ``side`` pixels, mostly wider than high."""
        other = max(16, int(side * random.uniform(0.6, 1)))
        height, width = (side, other) if random.random() < 0.3 else (other, side)
        return self.compose(random, height, width)

    def compose(self, random: Random, height: int, width: int) -> Sample:
        """A scene of one to seven objects, with one layer of their visible masks."""
        canvas = recoloured(self._background(random, height, width), random, 0.8).copy()
        layer = self._strewn(canvas, random, int(random.integers(1, 8)), _LARGEST)
        return Sample(worn(relit(canvas, random, 0.8), random, 0.3), (layer,))

    def strewn(self, sample: Sample, random: Random) -> Sample:
        """A sample with one to four objects pasted onto it, as one more layer.

        Copy-paste: Ghiasi et al. 2021 (arXiv 2012.07177).
        """
        canvas = sample.pixels.copy()
        pasted = self._strewn(canvas, random, int(random.integers(1, 5)), _LARGEST_ADDED)
        hidden = pasted.labels > 0
        layers = []
        for layer in sample.layers:
            labels = np.where(hidden, 0, layer.labels)
            most = max(layer.wanted, default=0)
            before = np.bincount(layer.labels.ravel(), minlength=most + 1)
            after = np.bincount(labels.ravel(), minlength=most + 1)
            wanted = {
                label: weight
                for label, weight in layer.wanted.items()
                if label and after[label] >= MIN_VISIBLE * before[label]
            }
            layers.append(Layer(labels, wanted))
        return Sample(canvas, (*layers, pasted))

    def _strewn(self, canvas: Pixels, random: Random, count: int, largest: float) -> Layer:
        """Paste objects onto a canvas, in place; returns the layer of their visible masks."""
        height, width = canvas.shape[:2]
        labels = np.zeros((height, width), np.int32)
        whole: dict[int, int] = {}
        for label in range(1, count + 1):
            span = random.uniform(np.log(_SMALLEST), np.log(largest))
            extent = int(np.exp(span) * max(height, width))
            piece = self._object(random, max(4, extent))
            covered = _paste(canvas, labels, piece, label, random)
            if covered:
                whole[label] = covered
        visible = np.bincount(labels.ravel(), minlength=max(whole, default=0) + 1)
        wanted = {k: 1.0 for k, area in whole.items() if visible[k] >= MIN_VISIBLE * area}
        return Layer(labels, wanted, whole)

    def _background(self, random: Random, height: int, width: int) -> Pixels:
        """Mostly a patch of a photo, sometimes a made-up surface; sometimes out of focus."""
        if random.random() < 0.2:
            pixels = random_surface(
                random, height, width, lambda height, width: self._patch(random, height, width)
            )
        else:
            pixels = self._patch(random, height, width)
        if random.random() < 0.2:
            radius = random.uniform(0.002, 0.01) * max(height, width)
            pixels = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))
        return pixels

    def _patch(self, random: Random, height: int, width: int) -> Pixels:
        """A random patch of a random photo, resized; half of the time nearly all of the photo."""
        photo = pick(random, self.photos).pixels()
        full_h, full_w = photo.shape[:2]
        largest = min(full_w / width, full_h / height)
        scale = largest * (random.uniform(0.8, 1) if random.random() < 0.5 else random.random())
        w, h = max(8.0, scale * width), max(8.0, scale * height)
        w, h = min(w, full_w), min(h, full_h)
        x, y = random.uniform(0, full_w - w), random.uniform(0, full_h - h)
        image = Image.fromarray(photo)
        box = (x, y, x + w, y + h)
        return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box))

    def _object(self, random: Random, extent: int) -> Pixels:
        """A cut-out or a made-up shape, [h, w, 4] uint8, its longer side about ``extent``."""
        if (self.cutouts or self.objects) and random.random() < 0.6:
            image = Image.fromarray(self._cut_out(random))
            if random.random() < 0.5:
                image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            factor = extent / max(image.size)
            w, h = (max(4, round(side * factor)) for side in image.size)
            image = image.resize((w, h), Image.Resampling.BILINEAR)
            if random.random() < 0.6:
                image = image.rotate(
                    random.uniform(-35, 35), Image.Resampling.BILINEAR, expand=True
                )
            piece = np.asarray(image)
            colour, alpha = recoloured(piece[..., :3], random, 0.8), piece[..., 3]
        else:
            alpha = random_shape(random, extent)
            colour = random_surface(
                random,
                alpha.shape[0],
                alpha.shape[1],
                lambda height, width: self._patch(random, height, width),
            )
            colour = recoloured(colour, random, 0.5)
        if random.random() < 0.6:
            colour = relit(colour, random, 1.0)
        if random.random() < 0.5:
            radius = random.uniform(0.3, 1.2)
            alpha = np.asarray(Image.fromarray(alpha).filter(ImageFilter.GaussianBlur(radius)))
        return np.dstack([colour, alpha])

    def _cut_out(self, random: Random) -> Pixels:
        if self.objects and (not self.cutouts or random.random() < 0.5):
            return pick(random, self.objects).pixels()
        source, label = pick(random, self.cutouts)
        return source.cutout(label)


def _paste(canvas: Pixels, labels: np.ndarray, piece: Pixels, label: int, random: Random) -> int:
    """Put a piece somewhere on the canvas, in place; returns its area inside the frame."""
    height, width = labels.shape
    h, w = piece.shape[:2]
    top = int(random.uniform(0, height) - h / 2)
    left = int(random.uniform(0, width) - w / 2)
    if random.random() < 0.7:  # most objects lie inside as far as they fit
        top = int(np.clip(top, min(0, height - h), max(0, height - h)))
        left = int(np.clip(left, min(0, width - w), max(0, width - w)))
    if random.random() < 0.4:
        _shade(canvas, piece[..., 3], top, left, random)
    rows = slice(max(0, top), min(height, top + h))
    columns = slice(max(0, left), min(width, left + w))
    part = piece[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    alpha = part[..., 3:].astype(np.float32) / 255
    under = canvas[rows, columns]
    canvas[rows, columns] = (under + alpha * (part[..., :3].astype(np.float32) - under)).astype(
        np.uint8
    )
    inside = part[..., 3] > 127
    labels[rows, columns][inside] = label
    return int(np.count_nonzero(inside))


def _shade(canvas: Pixels, alpha: np.ndarray, top: int, left: int, random: Random) -> None:
    """Darken the canvas under a blurred, shifted copy of an object, in place."""
    height, width = canvas.shape[:2]
    h, w = alpha.shape
    reach = max(h, w)
    shadow = Image.new("L", (width, height))
    shift_x, shift_y = random.uniform(-0.1, 0.1, 2) * reach
    shadow.paste(Image.fromarray(alpha), (int(left + shift_x), int(top + shift_y)))
    shadow = shadow.filter(ImageFilter.GaussianBlur(random.uniform(0.01, 0.06) * reach))
    dark = 1 - random.uniform(0.2, 0.7) * np.asarray(shadow, np.float32)[..., None] / 255
    canvas[:] = (canvas * dark).astype(np.uint8)
