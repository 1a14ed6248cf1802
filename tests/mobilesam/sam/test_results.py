"""What a result carries, draws and writes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco
from skimage.draw import polygon2mask

from mobilesam.errors import InputError
from mobilesam.sam.results import Result
from mobilesam.sam.sources import ChannelOrder, Photo

H, W = 40, 64


def blobs() -> np.ndarray:
    """Three masks: a ring beside a small square, an empty one, and the photo's lower edge."""
    rows, columns = np.mgrid[:H, :W]
    away = np.hypot(rows - 18, columns - 25)
    masks = np.zeros((3, H, W), bool)
    masks[0] = (away < 15) & (away > 6)
    masks[0, 2:5, 55:60] = True
    masks[2, -3:] = True
    return masks


def result(masks: np.ndarray | None = None, order: ChannelOrder = "bgr") -> Result:
    pixels = np.random.default_rng(1).integers(0, 256, (H, W, 3), dtype=np.uint8)
    masks = blobs() if masks is None else masks
    conf = [0.9, 0.25, 0.123456789][: len(masks)]
    return Result(
        Photo(pixels, "folder/street.jpg"),
        masks,
        conf,
        list(range(len(masks))),
        asked=3,
        channel_order=order,
    )


def test_masks_and_boxes() -> None:
    found = result()
    assert len(found) == 3 and found.orig_shape == (H, W) and found.path == "folder/street.jpg"
    assert found.names == {0: "0", 1: "1", 2: "2"}
    assert found.masks is not None and found.masks.shape == (3, H, W)
    assert found.masks.data.dtype == torch.bool
    assert torch.equal(found.masks.data, torch.from_numpy(blobs()))
    assert found.boxes.xyxy.tolist() == [[11, 2, 60, 33], [0, 0, 0, 0], [0, H - 3, W, H]]
    assert found.boxes.xywh[2].tolist() == [W / 2, H - 1.5, W, 3]
    assert found.boxes.xyxyn[2].tolist() == pytest.approx([0, (H - 3) / H, 1, 1])
    assert found.boxes.xywhn[2].tolist() == pytest.approx([0.5, (H - 1.5) / H, 1, 3 / H])
    assert found.boxes.cls.tolist() == [0, 1, 2]
    assert torch.equal(found.conf, found.boxes.conf)
    assert found.conf.tolist() == pytest.approx([0.9, 0.25, 0.123456789])
    arrays = found.boxes.cpu().numpy()
    assert isinstance(arrays.xywhn, np.ndarray) and isinstance(arrays.xyxy, np.ndarray)
    np.testing.assert_allclose(arrays.xywh, found.boxes.xywh.numpy())
    assert len(found.masks[0]) == 1 and found.masks[1:].shape == (2, H, W)
    assert np.array_equal(found.masks.numpy().data, blobs())


def test_polygons_in_pixels_and_in_shares() -> None:
    found = result()
    assert found.masks is not None
    for polygon, shares, mask in zip(found.masks.xy, found.masks.xyn, blobs(), strict=True):
        assert polygon.shape == shares.shape and shares.dtype == np.float32
        np.testing.assert_allclose(shares * (W, H), polygon, atol=1e-5)
        if mask.any():
            assert np.array_equal(polygon2mask((H, W), polygon[:, ::-1] - 0.5), mask)
        else:
            assert len(polygon) == 0


def test_no_masks() -> None:
    found = result(np.zeros((0, H, W), bool))
    assert found.masks is None and len(found) == 0
    assert found.boxes.shape == (0, 6) and found.conf.shape == (0,)
    assert json.loads(found.to_json()) == []
    assert np.array_equal(found.plot(), found.orig_img)


@pytest.mark.parametrize("save_conf", [False, True])
def test_yolo_labels_give_the_masks_again(tmp_path: Path, save_conf: bool) -> None:
    path = tmp_path / "labels" / "street.txt"
    assert result().save_txt(path, save_conf=save_conf) == str(path)
    lines = [line.split() for line in path.read_text("utf-8").splitlines()]
    assert [line[0] for line in lines] == ["0", "2"], "an empty mask has no line"
    for number, *values in lines:
        if save_conf:
            assert float(values.pop()) == pytest.approx(float(result().conf[int(number)]), abs=1e-5)
        polygon = np.array(values, np.float64).reshape(-1, 2) * (W, H)
        mask = blobs()[int(number)]
        assert np.array_equal(polygon2mask((H, W), polygon[:, ::-1] - 0.5), mask)
        runs = coco.frPyObjects([polygon.ravel().tolist()], H, W)
        assert np.array_equal(coco.decode(runs)[..., 0].astype(bool), mask)


def test_labels_replace_those_of_an_earlier_run(tmp_path: Path) -> None:
    path = tmp_path / "street.txt"
    path.write_text("9 0 0 1 0 1 1\n")
    result(np.zeros((0, H, W), bool)).save_txt(path)
    assert path.read_text() == ""
    assert [each.name for each in tmp_path.iterdir()] == ["street.txt"]


def test_json_has_what_is_there() -> None:
    first, empty, last = json.loads(result().to_json(decimals=3))
    assert (first["name"], first["class"], first["confidence"]) == ("0", 0, 0.9)
    assert last["confidence"] == 0.123
    assert first["box"] == {"x1": 11, "y1": 2, "x2": 60, "y2": 33}
    assert empty["segments"] == {"x": [], "y": []}
    assert len(first["segments"]["x"]) == len(first["segments"]["y"]) > 8
    *_, last = json.loads(result().to_json(normalize=True))
    assert last["box"] == pytest.approx({"x1": 0, "y1": (H - 3) / H, "x2": 1, "y2": 1}, abs=1e-4)
    assert max(last["segments"]["x"] + last["segments"]["y"]) <= 1


def test_arrays_have_the_channel_order_that_was_asked_for() -> None:
    bgr, rgb = result(), result(order="rgb")
    assert np.array_equal(bgr.orig_img, rgb.orig_img[..., ::-1])
    assert np.array_equal(bgr.plot(), rgb.plot()[..., ::-1])
    plain = dict(masks=False, boxes=False, labels=False, conf=False)
    assert np.array_equal(rgb.plot(**plain), rgb.orig_img)
    for part in plain:
        drawn = rgb.plot(**{**plain, part: True})
        assert drawn.shape == (H, W, 3) and drawn.dtype == np.uint8
        assert not np.array_equal(drawn, rgb.orig_img), part


def test_the_picture_is_saved_in_true_colours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert result().save() == "results_street.jpg"
    assert (tmp_path / "results_street.jpg").is_file()
    assert result().save("deep/picture.png", labels=False) == "deep/picture.png"
    with Image.open("deep/picture.png") as picture:
        assert np.array_equal(np.asarray(picture), result(order="rgb").plot(labels=False))
    shown: list[Image.Image] = []
    monkeypatch.setattr(Image.Image, "show", lambda picture: shown.append(picture))
    result().show()
    assert np.array_equal(np.asarray(shown[0]), result(order="rgb").plot())
    with pytest.raises(InputError, match="has no ending of an image file: write to .png or .jpg"):
        result().save("picture.txt")
    assert not (tmp_path / "picture.txt").exists()
