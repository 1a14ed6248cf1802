"""Pillow's resampling as numbers: held against Pillow, pixel for pixel."""

import numpy as np
import pytest
from PIL import Image

from mobilesam.errors import InputError
from mobilesam.inference import resampling
from mobilesam.inference.resampling import pillow_axes, resampled, taps

SIZES = [
    ((480, 640), (768, 1024)),
    ((427, 640), (171, 256)),
    ((1080, 1920), (144, 256)),
    ((1200, 400), (256, 85)),  # Pillow 13 scales rows first here
    ((2000, 300), (256, 38)),
    ((333, 500), (170, 256)),
    ((64, 64), (64, 64)),
    ((700, 701), (16, 3)),
]


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_it_is_pillows(old: tuple[int, int], new: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*old, 3), np.uint8)
    wanted = Image.fromarray(image).resize((new[1], new[0]), Image.Resampling.BILINEAR)
    found = image
    for axis in pillow_axes(old, new):
        found = resampled(found, axis, taps(old[axis], new[axis]))
    assert np.array_equal(found, np.array(wanted))


def test_black_and_white_stay() -> None:
    for value in (0, 255):
        image = np.full((5, 301, 1), value, np.uint8)
        assert (resampled(image, 1, taps(301, 97)) == value).all()


def test_a_pillow_that_scales_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "PRECISION", 6)
    with pytest.raises(InputError, match="use Pillow 13"):
        pillow_axes((100, 130), (37, 48))
