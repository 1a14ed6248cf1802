"""Outlines and surfaces of made-up objects, for synthetic scenes."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from mobilesam.training.photometric import Random, pick
from mobilesam.training.samples import Pixels

Alpha = npt.NDArray[np.uint8]
Outline = npt.NDArray[np.float64]

_OVERSAMPLING = 2  # outlines are drawn larger and reduced, so that their edges are soft


def random_shape(random: Random, extent: int) -> Alpha:
    """Alpha [h, w] uint8 of a random shape whose longer side is about ``extent`` pixels."""
    kinds = (_polar, _polar, _polygon, _star, _rounded)
    outline = pick(random, kinds)(random)
    angle = random.uniform(0, 2 * np.pi)
    stretch = np.array([1.0, np.exp(-abs(random.normal(0, 0.6)))])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (outline * stretch) @ turn.T
    points -= points.min(axis=0)
    points *= _OVERSAMPLING * extent / points.max()
    width, height = (int(side) + _OVERSAMPLING for side in points.max(axis=0))
    image = Image.new("L", (width, height))
    draw = ImageDraw.Draw(image)
    draw.polygon([(float(x), float(y)) for x, y in points], fill=255)
    if random.random() < 0.12:  # a ring: the object has a hole
        centre = points.mean(axis=0)
        hole = centre + random.uniform(0.3, 0.7) * (points - centre)
        draw.polygon([(float(x), float(y)) for x, y in hole], fill=0)
    smaller = (max(2, width // _OVERSAMPLING), max(2, height // _OVERSAMPLING))
    return np.asarray(image.resize(smaller, Image.Resampling.BOX))


def random_surface(
    random: Random, height: int, width: int, photo_patch: Callable[[int, int], Pixels]
) -> Pixels:
    """Colour [height, width, 3] uint8: a patch of a photo, a plain colour, stripes or clouds.

    Args:
        random: source of the draws.
        height, width: wanted size.
        photo_patch: returns a patch of some photo of a given height and width.
    """
    draw = random.random()
    if draw < 0.4:
        return photo_patch(height, width)
    first, second = random.uniform(0, 255, (2, 3))
    if draw < 0.6:
        second = first
    if draw < 0.75:
        mix = _clouds(random, height, width)
    else:
        mix = _stripes(random, height, width)
    blend = first + mix[..., None] * (second - first)
    return np.clip(blend, 0, 255).astype(np.uint8)


def _polar(random: Random) -> Outline:
    """A closed curve around a centre: a blob, smooth or ragged."""
    angle = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    radius = np.ones_like(angle)
    decay = random.uniform(0.8, 2.0)
    for wave in range(2, 9):
        size = random.normal(0, 0.35) / wave**decay
        radius += size * np.cos(wave * angle + random.uniform(0, 2 * np.pi))
    radius = np.maximum(radius, 0.15)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _polygon(random: Random) -> Outline:
    """A polygon of three to eight corners, seen from its centre in order."""
    corners = int(random.integers(3, 9))
    angle = np.sort(random.uniform(0, 2 * np.pi, corners))
    radius = random.uniform(0.6, 1.0, corners)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _star(random: Random) -> Outline:
    """A star of four to nine rays."""
    rays = int(random.integers(4, 10))
    angle = np.linspace(0, 2 * np.pi, 2 * rays, endpoint=False)
    radius = np.where(np.arange(2 * rays) % 2, random.uniform(0.35, 0.8), 1.0)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _rounded(random: Random) -> Outline:
    """A superellipse: between an ellipse and a rectangle."""
    angle = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    power = 2 / random.choice([2.0, 2.0, 4.0, 20.0])
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack(
        [np.sign(cosine) * abs(cosine) ** power, np.sign(sine) * abs(sine) ** power], axis=1
    )


def _clouds(random: Random, height: int, width: int) -> npt.NDArray[np.float32]:
    """Smooth noise in 0..1 at one or two scales."""
    total = np.zeros((height, width), np.float32)
    for cells, share in ((3, 0.7), (int(random.integers(6, 24)), 0.3)):
        coarse = random.random((cells, cells), dtype=np.float32)
        fine = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        total += share * np.asarray(fine)
    return np.clip(total, 0, 1)


def _stripes(random: Random, height: int, width: int) -> npt.NDArray[np.float32]:
    """Stripes, checks or waves in 0..1, whose period is a fraction of the surface."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / max(height, width)
    angle, waves = random.uniform(0, np.pi), random.uniform(2, 14)
    wave = np.sin(2 * np.pi * waves * (np.cos(angle) * x + np.sin(angle) * y))
    if random.random() < 0.3:
        wave = wave * np.sin(2 * np.pi * waves * (np.cos(angle) * y - np.sin(angle) * x))
    sharpness = random.choice([1.0, 3.0, 50.0])
    return (0.5 + 0.5 * np.tanh(sharpness * wave)).astype(np.float32)
