"""Every kind of image file, PIL image and array becomes the right uint8 RGB, or one sentence."""

import io
import os
import re
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage import data as photos

from mobilesam.errors import ImageError, MobileSAMError
from mobilesam.inference.images import load_image

PHOTO = photos.astronaut()[:200, :300]


def save(folder: Path, image: Image.Image, name: str, **options: Any) -> Path:
    path = folder / name
    image.save(path, **options)
    return path


def refused(source: object) -> str:
    """The message of the refusal, checked to be one sentence on one line."""
    with pytest.raises(ImageError) as caught:
        load_image(source)  # type: ignore[arg-type]
    message = str(caught.value)
    assert isinstance(caught.value, MobileSAMError)
    assert "\n" not in message and message.endswith(".")
    return message


def test_path_string_pil_and_array_agree(tmp_path: Path) -> None:
    path = save(tmp_path, Image.fromarray(PHOTO), "photo.png")
    for source in (path, str(path), Image.fromarray(PHOTO), Image.open(path), PHOTO):
        loaded = load_image(source)
        assert loaded.dtype == np.uint8 and loaded.flags.c_contiguous
        np.testing.assert_array_equal(loaded, PHOTO)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_to_files_and_pil_images(
    tmp_path: Path, orientation: int
) -> None:
    # What each tag value asks for, in terms of NumPy: stored pixels -> upright pixels.
    upright = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, 1),
    }[orientation](PHOTO)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path, Image.fromarray(PHOTO), "turned.png", exif=exif)
    np.testing.assert_array_equal(load_image(path), upright)
    np.testing.assert_array_equal(load_image(Image.open(path)), upright)


def test_grayscale_is_repeated(tmp_path: Path) -> None:
    gray = PHOTO[..., 0]
    loaded = load_image(save(tmp_path, Image.fromarray(gray), "gray.png"))
    np.testing.assert_array_equal(loaded, np.repeat(gray[..., None], 3, axis=2))


def test_one_bit_becomes_black_and_white(tmp_path: Path) -> None:
    bits = PHOTO[..., 0] > 100
    loaded = load_image(save(tmp_path, Image.fromarray(bits), "bits.png"))
    np.testing.assert_array_equal(loaded, np.repeat(bits[..., None] * np.uint8(255), 3, axis=2))


def test_alpha_is_dropped_not_composited(tmp_path: Path) -> None:
    alpha = np.zeros(PHOTO.shape[:2], np.uint8)
    rgba = np.dstack([PHOTO, alpha])
    np.testing.assert_array_equal(
        load_image(save(tmp_path, Image.fromarray(rgba), "rgba.png")), PHOTO
    )
    la = Image.merge("LA", [Image.fromarray(PHOTO[..., 1]), Image.fromarray(alpha)])
    np.testing.assert_array_equal(load_image(la)[..., 0], PHOTO[..., 1])


def test_palette_with_transparency_keeps_its_colours(tmp_path: Path) -> None:
    palette = Image.fromarray(PHOTO).quantize(16)
    expected = np.asarray(palette.convert("RGB"))
    opaque = save(tmp_path, palette, "palette.png")
    clear = save(tmp_path, palette, "clear.png", transparency=bytes([0, 128] + [255] * 14))
    gif = save(tmp_path, palette, "palette.gif")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in (opaque, clear, gif):
            np.testing.assert_array_equal(load_image(path), expected)


def test_cmyk_is_converted(tmp_path: Path) -> None:
    path = save(tmp_path, Image.fromarray(PHOTO).convert("CMYK"), "cmyk.tif")
    assert Image.open(path).mode == "CMYK"
    assert np.abs(load_image(path).astype(int) - PHOTO).max() <= 1


def test_sixteen_bit_keeps_its_full_range(tmp_path: Path) -> None:
    wide = np.linspace(0, 65535, 200 * 300).reshape(200, 300).astype(np.uint16)
    for name in ("wide.png", "wide.tif"):
        path = save(tmp_path, Image.fromarray(wide), name)
        loaded = load_image(path)
        assert loaded[0, 0, 0] == 0 and loaded[-1, -1, 0] == 255
        np.testing.assert_allclose(loaded[..., 2], wide / 257, atol=0.5)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 0.5], [0.25, 1]], np.float32), [[0, 128], [64, 255]]),
        (np.array([[0, 100], [200, 255]], np.float32), [[0, 100], [200, 255]]),
        (np.array([[0, 257], [25700, 65535]], np.float32), [[0, 1], [100, 255]]),
        (np.array([[-1, 0], [1, 3]], np.float32), [[0, 64], [128, 255]]),
        (np.array([[-7, -7], [-7, -7]], np.float32), [[0, 0], [0, 0]]),
        (np.array([[0, 1], [200, 255]], np.int32), [[0, 1], [200, 255]]),
        (np.array([[0, 2570], [65535, 0]], np.int32), [[0, 10], [255, 0]]),
        (np.array([[0, 100000], [50000, 0]], np.int32), [[0, 255], [128, 0]]),
    ],
)
def test_float_and_integer_modes_use_the_smallest_range(
    values: np.ndarray, expected: list[list[int]]
) -> None:
    np.testing.assert_array_equal(load_image(Image.fromarray(values))[..., 0], expected)


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    path = save(tmp_path, frames[0], "two.gif", save_all=True, append_images=frames[1:])
    assert load_image(path)[0, 0].tolist() == [255, 0, 0]


def test_array_shapes() -> None:
    gray = PHOTO[..., 0]
    tripled = np.repeat(gray[..., None], 3, axis=2)
    np.testing.assert_array_equal(load_image(gray), tripled)
    np.testing.assert_array_equal(load_image(gray[..., None]), tripled)
    np.testing.assert_array_equal(load_image(np.dstack([PHOTO, gray])), PHOTO)
    flipped = load_image(PHOTO[:, ::-1])
    assert flipped.flags.c_contiguous
    np.testing.assert_array_equal(flipped, PHOTO[:, ::-1])


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (PHOTO.astype(np.float32) / 255, r"float32.*\* 255"),
        (PHOTO.astype(np.uint16), "uint16.*257"),
        (PHOTO[..., 0] > 3, "bool.*255"),
        (PHOTO.astype(np.int64), "int64.*uint8"),
        (PHOTO.transpose(2, 0, 1), r"\(3, 200, 300\).*transpose\(1, 2, 0\)"),
        (PHOTO[None], r"image\[0\]"),
        (PHOTO[..., :2], r"\(200, 300, 2\)"),
        (np.zeros(5, np.uint8), r"\(5,\)"),
        (np.zeros((0, 5, 3), np.uint8), "5x0 pixels"),
        (np.zeros((1, 1, 3), np.uint8), "1x1 pixels"),
    ],
)
def test_arrays_that_are_refused(array: np.ndarray, says: str) -> None:
    assert re.search(says, refused(array))


def test_other_types_are_refused() -> None:
    assert "bytes" in refused(b"\x89PNG")
    assert "NoneType" in refused(None)


def test_files_that_are_not_there_or_not_files(tmp_path: Path) -> None:
    assert "no image file" in refused(tmp_path / "missing.jpg")
    assert "directory" in refused(tmp_path)
    (tmp_path / "empty.jpg").touch()
    assert "empty" in refused(tmp_path / "empty.jpg")


def test_files_that_are_not_images(tmp_path: Path) -> None:
    path = tmp_path / "notes.jpg"
    path.write_text("this is not a photo\n" * 20)
    assert "not an image" in refused(path)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(tmp_path: Path) -> None:
    path = save(tmp_path, Image.fromarray(PHOTO), "secret.png")
    path.chmod(0)
    assert "permission" in refused(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "gif"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6])
def test_truncated_files(tmp_path: Path, suffix: str, kept: float) -> None:
    whole = save(tmp_path, Image.fromarray(PHOTO), f"whole.{suffix}").read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(whole[: int(len(whole) * kept)])
    assert re.search("truncated or damaged|not an image", refused(cut))


def test_a_truncated_jpeg_says_so(tmp_path: Path) -> None:
    whole = save(tmp_path, Image.fromarray(PHOTO), "whole.jpg").read_bytes()
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole[: len(whole) // 2])
    assert "truncated" in refused(cut)
    assert "truncated" in refused(Image.open(cut))


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1)])
def test_a_side_of_one_pixel(tmp_path: Path, size: tuple[int, int]) -> None:
    path = save(tmp_path, Image.new("RGB", size), "tiny.png")
    assert f"{size[0]}x{size[1]} pixels" in refused(path)


@pytest.mark.parametrize("side", [9_500, 20_000])  # Pillow warns at one, raises at the other
def test_decompression_bomb(tmp_path: Path, side: int) -> None:
    size = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    header = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", size)
    path = tmp_path / "bomb.png"
    path.write_bytes(header + _chunk(b"IDAT", b"") + _chunk(b"IEND", b""))
    message = refused(path)
    assert "bomb" in message and "89,478,485" in message


def test_nan_in_a_float_image() -> None:
    assert "NaN" in refused(Image.fromarray(np.array([[0, np.nan], [1, 1]], np.float32)))


def test_an_open_file_is_closed(tmp_path: Path) -> None:
    path = save(tmp_path, Image.fromarray(PHOTO), "photo.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        load_image(path)
    stream = io.BytesIO(path.read_bytes())
    np.testing.assert_array_equal(load_image(Image.open(stream)), PHOTO)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
