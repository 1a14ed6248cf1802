"""Photos for encoders that take one size: what a camera with frames of that size would give."""

from dataclasses import replace

import numpy as np
from PIL import Image

from mobilesam.bundle.prompt_types import Subject
from mobilesam.inference.images import cut_to_shape, fitted
from parity.cases import PromptedPhoto


def framed(photo: PromptedPhoto, shape: tuple[int, int]) -> PromptedPhoto:
    """The photo cut to the shape of a camera's frame, around its subject, and scaled to its size.

    Args:
        photo: of any size.
        shape: H, W of the frame.
    """

    def subject_and_pixels() -> tuple[Subject, np.ndarray]:
        pixels = photo.load()
        return photo.subject(pixels.shape[:2]), pixels

    def load() -> np.ndarray:
        subject, pixels = subject_and_pixels()
        return fitted(pixels, shape, subject.point)

    def subject(_: tuple[int, int]) -> Subject:
        own, pixels = subject_and_pixels()
        return _moved(own, pixels.shape[:2], shape)

    return replace(photo, load=load, subject=subject)


def _moved(subject: Subject, size: tuple[int, int], shape: tuple[int, int]) -> Subject:
    """A subject of an image of (H, W) where it lies in the frame; what is cut off is left out."""
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
