"""Pictures: sizes, colours and positions, on images of awkward sizes too."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from mobilesam.inference.drawing import (
    EXPORT_COLOUR,
    REFERENCE_COLOUR,
    data_uri,
    draw_answer,
    draw_case,
    draw_masks,
)
from mobilesam.inference.prompts import make_prompt

GREY = np.full((200, 320, 3), 128, np.uint8)
POINT = make_prompt([[160, 100]], [1], original_size=(200, 320))


def _mask(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros((200, 320), bool)
    mask[top:bottom, left:right] = True
    return mask


def _panel(sheet: Image.Image, index: int, count: int = 4) -> np.ndarray:
    """Pixels of one panel of 480 x 300 without its title."""
    pixels = np.asarray(sheet)
    gap = (pixels.shape[1] - 480 * count) // (count - 1)
    left = index * (480 + gap)
    return pixels[-300:, left : left + 480]


def _count(panel: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((panel == np.array(colour)).all(-1).sum())


def test_difference_shows_each_side_in_its_colour() -> None:
    sheet = draw_case(GREY, POINT, _mask(50, 50, 150, 150), _mask(50, 100, 150, 200))
    difference = _panel(sheet, 3)
    # 100 x 50 pixels of either colour, scaled by 1.5, widened by a pixel all round.
    assert _count(difference, REFERENCE_COLOUR) == pytest.approx(152 * 77, rel=0.03)
    assert _count(difference, EXPORT_COLOUR) == pytest.approx(152 * 77, rel=0.03)
    columns = np.flatnonzero((difference == np.array(EXPORT_COLOUR)).all(-1).any(0))
    assert (columns.min(), columns.max()) == (150 * 1.5 - 1, 200 * 1.5)


def test_equal_masks_leave_no_difference() -> None:
    mask = _mask(50, 50, 150, 150)
    difference = _panel(draw_case(GREY, POINT, mask, mask.copy()), 3)
    assert _count(difference, REFERENCE_COLOUR) == _count(difference, EXPORT_COLOUR) == 0


def test_one_differing_pixel_of_a_large_photo_is_seen() -> None:
    large = np.zeros((2000, 3200, 3), np.uint8)
    reference = np.zeros((2000, 3200), bool)
    export = reference.copy()
    export[1000, 1600] = True
    point = make_prompt([[5, 5]], [1], original_size=(2000, 3200))
    assert _count(_panel(draw_case(large, point, reference, export), 3), EXPORT_COLOUR) >= 9


def test_points_and_box_are_drawn_where_they_are() -> None:
    prompt = make_prompt(
        [[80, 40], [240, 160]], [1, 0], [20, 20, 300, 180], original_size=(200, 320)
    )
    empty = _mask(0, 0, 0, 0)
    panel = _panel(draw_case(GREY, prompt, empty, empty), 0).astype(int)
    green = panel[60, 120]
    assert green[1] > green[0] + 50 and green[1] > green[2] + 50
    # A background point is a ring: the photo shows through its middle.
    assert panel[240, 360].tolist() == [128, 128, 128]
    red = panel[240, 360 + 8]
    assert red[0] > red[1] + 50
    yellow = panel[150, 30]
    assert yellow[0] > 180 and yellow[1] > 180 and yellow[2] < 130


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (300, 2), (60, 20), (3000, 40)])
def test_awkward_sizes(size: tuple[int, int]) -> None:
    image = np.zeros((*size, 3), np.uint8)
    prompt = make_prompt([[0, 0]], [1], [0, 0, size[1], size[0]], original_size=size)
    sheet = draw_case(image, prompt, np.zeros(size, bool), np.ones(size, bool))
    assert sheet.mode == "RGB" and sheet.width >= 4 * max(1, round(480 * size[1] / max(size)))


def test_titles_of_narrow_panels_are_whole() -> None:
    image = np.zeros((300, 60, 3), np.uint8)
    empty = np.zeros((300, 60), bool)
    one = empty.copy()
    one[0, 0] = True
    point = make_prompt([[5, 5]], [1], original_size=(300, 60))
    strip = np.asarray(draw_case(image, point, empty, one))[:-480]
    # The ground of the titles is clear at the right edge: no letter is cut.
    assert len(strip) > 20 and (strip[:, -4:] == strip[0, -1]).all()


def test_masks_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"image's size \[200, 320\]"):
        draw_case(GREY, POINT, np.zeros((320, 200), bool), np.zeros((200, 320), bool))
    with pytest.raises(ValueError, match="must be bool"):
        draw_masks(GREY, POINT, [np.zeros((200, 320), np.float32)])


def test_gallery_has_a_panel_a_mask() -> None:
    masks = np.stack([_mask(0, 0, 100, 100)] * 4)
    assert draw_masks(GREY, POINT, masks, max_side=300).width == 5 * 300 + 4 * 6
    with pytest.raises(ValueError):
        draw_masks(GREY, POINT, masks, titles=["one"])


def test_an_answer_is_one_panel_with_mask_and_prompt() -> None:
    prompt = make_prompt([[160, 100]], [1], [60, 60, 260, 140], original_size=(200, 320))
    panel = np.asarray(draw_answer(GREY, prompt, _mask(50, 100, 150, 220), max_side=320))
    assert panel.shape == (200, 320, 3)
    assert panel[5, 5].tolist() == [128, 128, 128]
    inside = panel[120, 120].astype(int)
    assert inside[2] > inside[0] + 30, "the mask is tinted"
    assert _count(panel, REFERENCE_COLOUR) > 300, "and outlined"
    red, green, blue = panel[100, 160].astype(int)
    assert green > red + 50 and green > blue + 50, "the click lies over the mask"
    red, green, blue = panel[100, 61].astype(int)
    assert min(red, green) > blue + 50, "the box is yellow"
    with pytest.raises(ValueError, match="image's size"):
        draw_answer(GREY, prompt, np.zeros((10, 10), bool), max_side=320)


def test_data_uri_holds_the_picture() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    uri = data_uri(Image.fromarray(noise))
    assert uri.startswith("data:image/jpeg;base64,")
    with Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))) as decoded:
        assert decoded.size == (64, 64)
