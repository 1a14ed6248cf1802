"""What cameras, lamps and files do to a picture: colour, light, blur, noise, JPEG."""

import io
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from mobilesam.training.samples import Pixels

Random = np.random.Generator
Item = TypeVar("Item")


def pick(random: Random, items: Sequence[Item]) -> Item:
    """One of the items, each as likely as any other."""
    return items[int(random.integers(len(items)))]


def recoloured(pixels: Pixels, random: Random, strength: float) -> Pixels:
    """Random brightness, contrast, saturation, hue, gamma and white balance.

    Args:
        pixels: [H, W, 3] uint8.
        random: source of the draws.
        strength: 0 leaves the picture as it is; 1 may halve or double contrast.
    """
    image = Image.fromarray(pixels)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(float(np.exp(random.normal(0, 0.3 * strength))))
    if random.random() < 0.5 * strength:
        image = image.convert("RGB", _hue_turned(random.normal(0, 0.5 * strength)))
    levels = np.arange(256) / 255
    gamma = np.exp(random.normal(0, 0.2 * strength))
    gains = np.exp(random.normal(0, 0.1 * strength, 3))
    table = np.clip(255 * gains[:, None] * levels**gamma, 0, 255).round().astype(int)
    image = image.point(table.ravel().tolist())
    if random.random() < 0.05 * strength:
        image = image.convert("L").convert("RGB")
    return np.asarray(image)


def _hue_turned(angle: float) -> tuple[float, ...]:
    """The colour matrix, as Pillow takes it, that turns colours around grey by an angle."""
    third = (1 - np.cos(angle)) / 3
    across = np.sin(angle) / 3**0.5
    same, after, before = np.cos(angle) + third, third - across, third + across
    rows = ((same, after, before), (before, same, after), (after, before, same))
    return tuple(float(value) for row in rows for value in (*row, 0))


def relit(pixels: Pixels, random: Random, strength: float) -> Pixels:
    """A linear change of light across the picture, of up to ``strength`` of its brightness."""
    height, width = pixels.shape[:2]
    angle = random.uniform(0, 2 * np.pi)
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :]
    light = 1 + strength * random.random() * (np.cos(angle) * x + np.sin(angle) * y)
    return np.clip(pixels * light[..., None].astype(np.float32), 0, 255).astype(np.uint8)


def worn(pixels: Pixels, random: Random, probability: float) -> Pixels:
    """Blur, sensor noise and JPEG artefacts, each with the given probability."""
    longest = max(pixels.shape[:2])
    if random.random() < probability:
        radius = random.uniform(0.2, 1.5) * longest / 512
        blurred = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius))
        pixels = np.asarray(blurred)
    if random.random() < probability:
        noise = random.standard_normal(pixels.shape, dtype=np.float32) * random.uniform(2, 14)
        pixels = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    if random.random() < probability:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=int(random.integers(25, 90)))
        pixels = np.asarray(Image.open(file).convert("RGB"))
    return pixels
