"""The square frame: sizes, coordinates, resizing, padding, and masks on their way back."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage import data as photos

from mobilesam.errors import ImageError
from mobilesam.inference.transforms import (
    PIXEL_MEAN,
    PIXEL_STD,
    Frame,
    normalized_input,
    pixels_input,
    resize_longest_side,
    upscale_logits,
)


@pytest.mark.parametrize(
    ("original", "image_size", "valid"),
    [
        ((512, 512), 1024, (1024, 1024)),
        ((400, 600), 1024, (683, 1024)),  # 682.67 rounds up
        ((600, 400), 1024, (1024, 683)),
        ((1200, 1800), 1024, (683, 1024)),
        ((427, 640), 1024, (683, 1024)),
        ((3, 2048), 1024, (2, 1024)),  # 1.5 rounds up, where Python's round() gives 2 as well
        ((5, 2048), 1024, (3, 1024)),  # 2.5 rounds up, where Python's round() gives 2
        ((1, 2048), 1024, (1, 1024)),
        ((480, 640), 256, (192, 256)),
    ],
)
def test_valid_size(original: tuple[int, int], image_size: int, valid: tuple[int, int]) -> None:
    assert Frame(original, image_size).valid_size == valid


@pytest.mark.parametrize("original", [(2, 10_000), (10_000, 2), (0, 5)])
def test_a_vanishing_side_is_refused(original: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match="too elongated"):
        Frame(original, 1024)


def test_coords_scale_each_axis_by_its_own_rounded_factor() -> None:
    frame = Frame((400, 600), 1024)
    coords = frame.coords_to_frame(np.array([[0, 0], [600, 400], [299.5, 123.25]]))
    assert coords.dtype == np.float32
    expected = [[0, 0], [1024, 683], [299.5 * (1024 / 600), 123.25 * (683 / 400)]]
    np.testing.assert_array_equal(coords, np.array(expected, np.float32))


def test_coords_are_computed_in_double_precision() -> None:
    frame = Frame((777, 1331), 1024)
    xy = np.random.default_rng(0).uniform(0, 777, (4, 5, 2))
    expected = np.stack([xy[..., 0] * (1024 / 1331), xy[..., 1] * (598 / 777)], axis=-1)
    np.testing.assert_array_equal(frame.coords_to_frame(xy), expected.astype(np.float32))
    np.testing.assert_array_equal(frame.coords_to_frame(xy.tolist()), expected.astype(np.float32))


def test_boxes_are_two_corners() -> None:
    frame = Frame((300, 200), 256)
    boxes = np.array([[[10, 20, 110, 220]], [[0, 0, 200, 300]]])
    scaled = frame.boxes_to_frame(boxes)
    assert scaled.shape == (2, 1, 4)
    np.testing.assert_array_equal(scaled[..., :2], frame.coords_to_frame(boxes[..., :2]))
    np.testing.assert_array_equal(scaled[..., 2:], frame.coords_to_frame(boxes[..., 2:]))


@pytest.mark.parametrize("image_size", [256, 1024])  # smaller and larger than the photo
def test_resize_is_pillows_antialiased_bilinear(image_size: int) -> None:
    photo = photos.coffee()
    height, width = Frame((400, 600), image_size).valid_size
    expected = Image.fromarray(photo).resize((width, height), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(resize_longest_side(photo, image_size), np.asarray(expected))


def test_resize_leaves_a_fitting_image_alone() -> None:
    photo = photos.astronaut()[:300]
    np.testing.assert_array_equal(resize_longest_side(photo, 512), photo)


def test_pixels_input_holds_raw_values_and_zeros() -> None:
    photo = photos.coffee()
    image, valid_size = pixels_input(photo, 300)
    assert image.dtype == valid_size.dtype == np.float32
    assert image.shape == (1, 3, 300, 300) and valid_size.tolist() == [200, 300]
    resized = resize_longest_side(photo, 300)
    np.testing.assert_array_equal(image[0, :, :200].transpose(1, 2, 0), resized)
    assert not image[0, :, 200:].any()


def test_normalized_input_pads_after_normalising() -> None:
    photo = photos.coffee()
    image = normalized_input(photo, 300)
    raw, _ = pixels_input(photo, 300)
    assert image.dtype == np.float32
    for channel, (mean, std) in enumerate(zip(PIXEL_MEAN, PIXEL_STD, strict=True)):
        expected = (raw[0, channel, :200] - mean) / std
        np.testing.assert_allclose(image[0, channel, :200], expected, rtol=1e-5, atol=1e-6)
    assert not image[0, :, 200:].any()  # exact zeros, the mean colour, not black


def test_upscale_crops_the_padding_before_the_last_resize() -> None:
    frame = Frame((40, 80), 64)
    low_res = torch.full((1, 2, 16, 16), -100.0)
    low_res[..., :8, :] = 1.0  # the valid half; the padding must hardly leak in
    masks = upscale_logits(low_res, frame)
    assert masks.shape == (1, 2, 40, 80)
    torch.testing.assert_close(masks[..., :36, :], torch.ones(1, 2, 36, 80))


def test_upscale_interpolates_with_half_pixel_centres() -> None:
    frame = Frame((64, 64), 64)
    ramp = torch.arange(16, dtype=torch.float32).expand(1, 1, 16, 16)
    row = upscale_logits(ramp, frame)[0, 0, 5]
    expected = ((torch.arange(64) + 0.5) / 4 - 0.5).clamp(0, 15)
    torch.testing.assert_close(row, expected)


sides = st.integers(min_value=2, max_value=4000)


@given(height=sides, width=sides, image_size=st.sampled_from([256, 512, 1024]))
def test_a_frame_always_contains_the_photo(height: int, width: int, image_size: int) -> None:
    if image_size * min(height, width) / max(height, width) < 0.5:
        return
    frame = Frame((height, width), image_size)
    assert max(frame.valid_size) == image_size and min(frame.valid_size) >= 1
    corner = frame.coords_to_frame(np.array([width, height]))
    np.testing.assert_allclose(corner, frame.valid_size[::-1], rtol=1e-6)
