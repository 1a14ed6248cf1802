"""`mobilesam everything`: masks as JSON, a picture, and a sentence for what cannot be."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from mobilesam import load_model
from mobilesam.everything import MaskGenerator
from tests.mobilesam_cli.conftest import Run
from tests.tiny_bundles import tiny_bundle

FEW = ("--points-per-side", "3", "--pred-iou-thresh", "0.1", "--stability-score-thresh", "0.3")
FEW_PARAMETERS = {"points_per_side": 3, "pred_iou_thresh": 0.1, "stability_score_thresh": 0.3}
SMALL = ("--image-size", "128")


def test_masks_are_written_as_the_generator_finds_them(run: Run, here: Path, photo: Path) -> None:
    result = run("everything", photo, *FEW, *SMALL, "--overlay", "all.png")
    assert result.exit_code == 0, result.output
    assert "photo-masks.json: " in result.stdout and "all.png: overlay" in result.stdout
    written = json.loads((here / "photo-masks.json").read_text("utf-8"))
    wanted = MaskGenerator(load_model(image_size=128), **FEW_PARAMETERS).generate(photo)
    assert written["size"] == [64, 96] and written["engine"] == "PyTorch"
    assert written["parameters"]["points_per_side"] == 3
    assert written["masks"], "no mask, nothing compared"
    for found, record in zip(written["masks"], wanted, strict=True):
        assert (coco.decode(found["segmentation"]) == record["segmentation"]).all()
        assert {k: v for k, v in found.items() if k != "segmentation"} == {
            k: v for k, v in record.items() if k != "segmentation"
        }
    drawn, original = (np.asarray(Image.open(path)) for path in (here / "all.png", photo))
    covered = np.logical_or.reduce([record["segmentation"] for record in wanted])
    assert drawn.shape == original.shape
    assert (drawn[~covered] == original[~covered]).all()
    assert (drawn[covered] != original[covered]).any(axis=-1).mean() > 0.9


def test_json_goes_to_stdout_too(run: Run, here: Path, photo: Path) -> None:
    options = (*FEW, *SMALL, "--json", "--out", "masks.json", "--output-mode", "uncompressed_rle")
    result = run("everything", photo, *options)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == json.loads((here / "masks.json").read_text("utf-8"))
    counts = json.loads(result.stdout)["masks"][0]["segmentation"]["counts"]
    assert sum(counts) == 64 * 96


def test_a_bundle_is_asked(run: Run, here: Path, photo: Path) -> None:
    bundle = tiny_bundle("torchscript")
    lenient = ("--pred-iou-thresh", "0", "--stability-score-thresh", "0")
    result = run("everything", photo, "--points-per-side", "2", *lenient, "--bundle", bundle.path)
    assert result.exit_code == 0, result.output
    written = json.loads((here / "photo-masks.json").read_text("utf-8"))
    assert written["engine"].startswith("torchscript-fp32 on TorchScript")
    assert written["masks"]


BAD: dict[str, tuple[tuple[str, ...], str]] = {
    "an ending that is not JSON's": (("--out", "masks.txt"), "--out must end in .json"),
    "a folder that is not there": (("--out", "no/masks.json"), "does not exist"),
    "a picture of another kind": (("--overlay", "all.gif"), "--overlay must end in .png or"),
    "a runtime without a bundle": (("--runtime", "litert"), "give --bundle too"),
    "weights beside a bundle": (("--bundle", "b", "--weights", "demo"), "drop those options"),
    "a bundle that is none": (("--bundle", "b"), "is not a folder"),
    "pixels in JSON": (("--output-mode", "binary_mask"), "coco_rle or uncompressed_rle"),
    "an output that is none": (("--output-mode", "polygon"), "output_mode must be one of"),
    "no points": (("--points-per-side", "0"), "points_per_side must be a whole number"),
    "an IoU over 1": (("--box-nms-thresh", "2"), "box_nms_thresh must be a number from 0 to 1"),
    "a pace that is none": (("--mode", "quick"), "mode must be one of full, fast"),
    "a checkpoint that is none": (("--weights", "officail"), "officail"),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_input(fault: str, refused: Callable[..., str], photo: Path) -> None:
    options, expected = BAD[fault]
    assert expected in refused("everything", photo, *options)


def test_a_picture_is_not_written_over_the_photo(refused: Callable[..., str], photo: Path) -> None:
    assert "would overwrite" in refused("everything", photo, "--overlay", photo)


def test_a_photo_that_is_not_there(refused: Callable[..., str]) -> None:
    assert "no image file" in refused("everything", "nowhere.jpg")
