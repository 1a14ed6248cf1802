"""Photos for encoders that take one size: what a camera with frames of that size would give."""

from dataclasses import replace
from functools import partial

import numpy as np
from PIL import Image

from mobilesam.bundle.prompt_types import Subject
from mobilesam.inference.images import cut_to_shape, fitted
from parity.cases import PromptedPhoto

Size = tuple[int, int]


def framed(photo: PromptedPhoto, shape: Size) -> PromptedPhoto:
    """The photo cut to the shape of a camera's frame, around its subject, and scaled to its size.

    Args:
        photo: of any size.
        shape: H, W of the frame.
    """
    return replace(
        photo, load=partial(_pixels, photo, shape), subject=partial(_subject, photo, shape)
    )


def _pixels(photo: PromptedPhoto, shape: Size) -> np.ndarray:
    pixels = photo.load()
    return fitted(pixels, shape, photo.subject(pixels.shape[:2]).point)


def _subject(photo: PromptedPhoto, shape: Size, _: Size) -> Subject:
    """What to point at, where it lies in the frame; what is cut off is left out."""
    size = photo.load().shape[:2]
    subject = photo.subject(size)
    left, top, right, bottom = cut_to_shape(size, shape, subject.point)
    factors = shape[1] / (right - left), shape[0] / (bottom - top)

    def across(x: float) -> float:
        return (min(max(x, left), right) - left) * factors[0]

    def down(y: float) -> float:
        return (min(max(y, top), bottom) - top) * factors[1]

    x1, y1, x2, y2 = subject.box
    x, y = subject.point
    mask = subject.mask
    if mask is not None:
        part = Image.fromarray(mask[top:bottom, left:right].astype(np.uint8))
        nearest = Image.Resampling.NEAREST
        mask = np.array(part.resize((shape[1], shape[0]), nearest)).astype(bool)
    return Subject((across(x1), down(y1), across(x2), down(y2)), (across(x), down(y)), mask)
