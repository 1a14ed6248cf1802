"""Photos that cannot show a fault are named; those that show it together are not."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from parity.cases import default_photos
from parity.hidden_faults import SIDE, hidden_faults
from parity.photos import StoredPhoto, stored_photos

COLOURS = "No photo can show red and blue exchanged: all are gray."
PADDING = "No photo can show wrong padding: all are square, so that nothing is padded."
CONTRAST = "No photo can show wrong contrast or a missing normalization: each is of one colour."
MIRRORED = "No photo can show an image mirrored {}: each looks the same then."
SHIFTED = "No photo can show an image shifted {}: each looks the same then."


def photo(pixels: np.ndarray, name: str = "made up") -> StoredPhoto:
    return StoredPhoto(name, lambda: pixels.astype(np.uint8), lambda *_: [])


def flat(height: int, width: int, colour: tuple[int, int, int] = (128, 128, 128)) -> np.ndarray:
    return np.broadcast_to(np.array(colour), (height, width, 3))


def gradient(height: int, width: int) -> np.ndarray:
    """Gray, dark on the left and bright on the right."""
    return np.broadcast_to(np.linspace(0, 255, width)[None, :, None], (height, width, 3))


def noise(height: int, width: int) -> np.ndarray:
    """Coloured, and as coarse as what is seen at SIDE pixels."""
    coarse = np.random.default_rng(0).integers(0, 255, (8, 8, 3))
    return np.kron(coarse, np.ones((height // 8, width // 8, 1)))


def test_a_flat_gray_photo_shows_next_to_nothing() -> None:
    flips = MIRRORED.format("left to right, upside down or along its diagonal")
    shifts = SHIFTED.format("sideways or up or down")
    assert hidden_faults([photo(flat(300, 300))]) == [COLOURS, PADDING, flips, shifts, CONTRAST]
    # One that is not square is padded, and what is padded shows rows exchanged with columns.
    flips = MIRRORED.format("left to right or upside down")
    assert hidden_faults([photo(flat(200, 300))]) == [COLOURS, flips, shifts, CONTRAST]


def test_a_flat_coloured_photo_shows_its_channels() -> None:
    assert COLOURS not in hidden_faults([photo(flat(300, 300, (200, 90, 40)))])


def test_a_gradient_shows_only_its_own_direction() -> None:
    assert hidden_faults([photo(gradient(200, 300))]) == [
        COLOURS,
        MIRRORED.format("upside down"),
        SHIFTED.format("up or down"),
    ]


def test_a_square_in_the_middle_looks_the_same_mirrored() -> None:
    pixels = flat(256, 256, (20, 60, 200)).copy()
    pixels[64:192, 64:192] = 230, 40, 10
    flips = MIRRORED.format("left to right, upside down or along its diagonal")
    assert hidden_faults([photo(pixels)]) == [PADDING, flips]


def test_a_square_photo_full_of_colour_lacks_padding_alone() -> None:
    square = photo(noise(256, 256))
    assert hidden_faults([square]) == [PADDING]
    strip = photo(noise(256, 256)[:24], "made up (wide strip)")
    assert hidden_faults([square, strip]) == []


def test_photos_show_together_what_neither_does() -> None:
    square, wide = photo(noise(256, 256)), photo(gradient(200, 300))
    assert hidden_faults([square]) and hidden_faults([wide])
    assert hidden_faults([square, wide]) == []


def test_strips_count_for_padding_alone() -> None:
    strips = [photo(noise(256, 24), "gray (tall strip)")]
    assert COLOURS in hidden_faults([photo(flat(300, 300)), *strips])
    assert PADDING not in hidden_faults([photo(flat(300, 300)), *strips])


def test_noise_of_a_gray_camera_is_no_colour() -> None:
    gray = np.random.default_rng(1).integers(0, 255, (SIDE, SIDE, 1)).repeat(3, axis=-1)
    gray[..., 0] += (gray[..., 0] < 255) * np.random.default_rng(2).integers(0, 2, gray.shape[:2])
    assert COLOURS in hidden_faults([photo(gray)])


@pytest.mark.parametrize("strips", [True, False])
def test_the_built_in_photos_show_everything(strips: bool) -> None:
    with ExitStack() as kept:
        photos = kept.enter_context(stored_photos(default_photos(), [64], strips=strips)).photos
        assert hidden_faults(photos) == []


def test_photos_that_are_gone_are_passed_over() -> None:
    def gone() -> np.ndarray:
        return np.load(Path("no such file.npy"))

    assert hidden_faults([StoredPhoto("gone", gone, lambda *_: [])]) == []
