"""Outlines and surfaces of made-up objects, for synthetic scenes."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from mobilesam.training.photometric import Random, pick
from mobilesam.training.samples import Pixels

Alpha = npt.NDArray[np.uint8]
Outline = npt.NDArray[np.float64]
Pattern = npt.NDArray[np.float32]

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
    """Colour [height, width, 3] uint8: a patch of a photo, a plain colour, or a pattern of two.

    Args:
        random: source of the draws.
        height, width: wanted size.
        photo_patch: returns a patch of some photo of a given height and width.
    """
    draw = random.random()
    if draw < 0.4:
        return photo_patch(height, width)
    first, second = random.uniform(0, 255, (2, 3)).astype(np.float32)
    if draw < 0.5:
        return np.broadcast_to(first.astype(np.uint8), (height, width, 3)).copy()
    mix = pick(random, (_clouds, _stripes, _grain, _tiles))(random, height, width)
    blend = first + mix[..., None] * (second - first) * random.uniform(0.3, 1)
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


def _clouds(random: Random, height: int, width: int) -> Pattern:
    """Smooth noise in 0..1 at one or two scales."""
    total = np.zeros((height, width), np.float32)
    for cells, share in ((3, 0.7), (int(random.integers(6, 24)), 0.3)):
        coarse = random.random((cells, cells), dtype=np.float32)
        fine = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        total += share * np.asarray(fine)
    return np.clip(total, 0, 1)


def _grain(random: Random, height: int, width: int) -> Pattern:
    """Rough noise in 0..1, such as bark, sand, fur or grass: many scales, perhaps stretched."""
    total = np.zeros((height, width), np.float32)
    fade, stretch = random.uniform(0.5, 1.1), np.exp(random.normal(0, 0.8))
    for octave in range(int(random.integers(1, 4)), 8):
        sides = 2**octave * np.array([stretch, 1 / stretch])
        rows, columns = (int(side) for side in np.clip(sides, 2, (height, width)))
        coarse = Image.fromarray(random.standard_normal((rows, columns), dtype=np.float32))
        fine = coarse.resize((width, height), Image.Resampling.BILINEAR)
        total += np.float32(fade**octave) * np.asarray(fine)
    return np.clip(0.5 + 0.3 * total / (total.std() + 1e-6), 0, 1)


def _tiles(random: Random, height: int, width: int) -> Pattern:
    """Tiles, bricks or planks in 0..1, each of a shade of its own, with joints between them."""
    y, x = _turned(random, height, width)
    rows, columns = random.uniform(2, 12, 2)
    v, u = rows * y, columns * x
    row = np.floor(v)
    u = u + random.choice([0.0, 0.5]) * (row % 2)
    shades = random.uniform(0.2, 1, (32, 32)).astype(np.float32)
    tile = shades[row.astype(int) % 32, np.floor(u).astype(int) % 32]
    joint = random.uniform(0.02, 0.12)
    return tile * ((u % 1 > joint) & (v % 1 > joint))


def _stripes(random: Random, height: int, width: int) -> Pattern:
    """Stripes, checks or waves in 0..1, whose period is a fraction of the surface."""
    y, x = _turned(random, height, width)
    waves = random.uniform(2, 14)
    wave = np.sin(2 * np.pi * waves * x)
    if random.random() < 0.3:
        wave = wave * np.sin(2 * np.pi * waves * y)
    sharpness = random.choice([1.0, 3.0, 50.0])
    return (0.5 + 0.5 * np.tanh(sharpness * wave)).astype(np.float32)


def _turned(random: Random, height: int, width: int) -> tuple[Pattern, Pattern]:
    """Two coordinates of each pixel, at right angles, turned at random; 1 is the longer side."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / max(height, width)
    angle = random.uniform(0, np.pi)
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return cosine * y - sine * x, cosine * x + sine * y
