"""Photos come as paths, folders, PIL images, arrays and lists of them, and mean the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mobilesam import SAM
from mobilesam.errors import ImageError, InputError
from tests.tiny_bundles import tiny_model


def ask(sam: SAM, source: Any) -> list[np.ndarray]:
    """The mask of one click in each photo."""
    found = sam.predict(source, points=[30, 40], labels=[1])
    return [each.masks.data[0].numpy() for each in found if each.masks is not None]


def test_every_kind_of_source_is_the_same_photo(sam: SAM, photo: Path, pixels: np.ndarray) -> None:
    bgr = np.ascontiguousarray(pixels[..., ::-1])
    alpha = np.dstack([bgr, np.full(bgr.shape[:2], 7, np.uint8)])
    (expected,) = ask(sam, photo)
    for source in (str(photo), Image.fromarray(pixels), bgr, alpha, [photo], (bgr,), photo.parent):
        (mask,) = ask(sam, source)
        assert np.array_equal(mask, expected)
    several = ask(sam, [photo, Image.fromarray(pixels), bgr])
    assert len(several) == 3 and all(np.array_equal(mask, expected) for mask in several)
    rgb = SAM(tiny_model(), channel_order="rgb")
    assert np.array_equal(ask(rgb, pixels)[0], expected)
    assert np.array_equal(ask(rgb, photo)[0], expected)
    assert not np.array_equal(ask(rgb, bgr)[0], expected), "the order of colours counts"


def test_originals_come_back(sam: SAM, photo: Path, pixels: np.ndarray) -> None:
    bgr = np.ascontiguousarray(pixels[..., ::-1])
    for source, path in (
        (photo, str(photo)),
        (Image.open(photo), str(photo)),
        (Image.fromarray(pixels), "image0.jpg"),
        (bgr, "image0.jpg"),
    ):
        (result,) = sam.predict(source, points=[30, 40])
        assert result.path == path
        assert np.array_equal(result.orig_img, bgr)
    assert [r.path for r in sam([bgr, photo, bgr], bboxes=[1, 1, 9, 9])] == [
        "image0.jpg", str(photo), "image2.jpg"
    ]  # fmt: skip


def test_a_folder_is_taken_in_the_order_of_names(
    sam: SAM, photo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Image.open(photo).rotate(90, expand=True).save(photo.parent / "a.jpg")
    (photo.parent / "notes.txt").write_text("no photo")
    found = sam(photo.parent, points=[30, 40])
    assert [Path(result.path).name for result in found] == ["a.jpg", "photo.png"]
    assert [result.orig_shape for result in found] == [(60, 90), (90, 60)]
    assert "notes.txt" in caplog.text


def test_photos_are_read_one_by_one_where_results_are_streamed(sam: SAM, photo: Path) -> None:
    broken = photo.parent / "z.png"
    broken.write_bytes(photo.read_bytes()[:200])
    results = sam.predict([photo, broken], stream=True, points=[30, 40])
    assert len(next(results)) == 1
    with pytest.raises(ImageError, match="z.png' is truncated or damaged"):
        next(results)


def test_an_array_that_is_written_over_is_another_photo(pixels: np.ndarray) -> None:
    """As the buffer of a camera."""
    sam = SAM(tiny_model(), channel_order="rgb")
    buffer = pixels.copy()
    (before,) = sam(buffer, points=[30, 40])
    buffer[:] = pixels[::-1]
    (after,) = ask(sam, buffer)
    assert np.array_equal(before.orig_img, pixels)
    assert np.array_equal(after, ask(SAM(tiny_model(), channel_order="rgb"), buffer)[0])
    assert before.masks is not None and not np.array_equal(after, before.masks.data[0].numpy())


@pytest.mark.parametrize(
    ("source", "kind", "said"),
    [
        ("nowhere.jpg", ImageError, "There is no image file at 'nowhere.jpg'"),
        (["nowhere.jpg"], ImageError, "There is no image file at 'nowhere.jpg'"),
        ([], InputError, "the list of images is empty"),
        ("https://example.org/a.jpg", InputError, "is an address: download the image"),
        (None, ImageError, "An image must be a path, a PIL image or a uint8 NumPy array"),
        (0, ImageError, "not builtins.int"),
        (torch.zeros(1, 3, 8, 8), ImageError, "not torch.Tensor"),
        (np.zeros((8, 8, 3), np.float32), ImageError, "HxWx3 (BGR, 0-255)"),
        (np.zeros((3, 8, 8), np.uint8), ImageError, "looks channels-first"),
        (np.zeros((1, 8, 8, 3), np.uint8), ImageError, "use image[0]"),
    ],
)
def test_what_is_no_photo(sam: SAM, source: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind) as refused:
        sam.predict(source, points=[1, 1])
    assert said in str(refused.value)


def test_a_folder_without_photos(sam: SAM, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no image files in it"):
        sam.predict(tmp_path, points=[1, 1])
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(InputError, match="has no image files in it: empty.jpg cannot be read"):
        sam.predict(tmp_path, points=[1, 1])
    with pytest.raises(ImageError, match="is a directory; give the path of one image"):
        sam.predict([tmp_path], points=[1, 1])
    with pytest.raises(InputError, match="channel_order must be 'bgr' or 'rgb', not 'BGR'"):
        SAM(tiny_model(), channel_order="BGR")  # type: ignore[arg-type]
