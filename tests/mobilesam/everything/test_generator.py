"""Segment everything finds what upstream's generator finds with the same model."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco

from mobilesam.errors import BundleError, ImageError, InputError
from mobilesam.everything import MaskGenerator
from mobilesam.everything.generator import MaskRecord
from mobilesam.everything.order import CoarseToFine
from mobilesam.model.fast_decoder import Attended, FastDecoder
from mobilesam.runtimes import open_runner
from mobilesam.runtimes.reference import ReferenceRunner
from tests.tiny_bundles import tiny_bundle, tiny_model
from tests.upstream.generator import upstream_masks

LENIENT: dict[str, Any] = {
    "pred_iou_thresh": 0.0,
    "stability_score_thresh": 0.3,
    "stability_score_offset": 0.05,
    "points_per_side": 4,
}
"""Thresholds that a model of random weights can meet."""

PARAMETERS: dict[str, dict[str, Any]] = {
    "lenient": {},
    "nothing is too similar": {"box_nms_thresh": 1.0},
    "much is too similar": {"box_nms_thresh": 0.3},
    "no threshold": {"stability_score_thresh": 0.0, "points_per_side": 2},
    "a larger offset": {"stability_score_offset": 0.1, "stability_score_thresh": 0.1},
    "an IoU that some masks miss": {"pred_iou_thresh": 0.2},
    "crops": {"crop_n_layers": 1, "points_per_side": 2},
    "crops of two layers": {
        "crop_n_layers": 2,
        "crop_n_points_downscale_factor": 2,
        "crop_overlap_ratio": 0.5,
        "crop_nms_thresh": 0.5,
    },
    "points of one's own": {
        "points_per_side": None,
        "point_grids": [np.array([[0.1, 0.2], [0.5, 0.5], [1.0, 0.0]])],
    },
    "small regions": {"min_mask_region_area": 60, "box_nms_thresh": 0.9},
    "all regions are small": {"min_mask_region_area": 10**6, "box_nms_thresh": 0.9},
}
SIZES = {"wide": (60, 97), "tall": (150, 80), "larger than the frame": (200, 310)}


def photo(size: tuple[int, int]) -> np.ndarray:
    """A uint8 RGB image of smooth colours with an edge."""
    height, width = size
    coarse = np.random.default_rng(height).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    smooth = np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    smooth[height // 4 : height // 2, width // 3 : width // 2] = (250, 20, 40)
    return smooth


@cache
def upstream_of(case: str, size: str) -> list[dict[str, Any]]:
    return upstream_masks(tiny_model(), photo(SIZES[size]), **{**LENIENT, **PARAMETERS[case]})


def assert_same(ours: list[MaskRecord], theirs: list[dict[str, Any]]) -> None:
    """The same masks in the same order, but for pixels whose logit is rounded to the other side."""
    assert len(ours) == len(theirs)
    for mine, its in zip(ours, theirs, strict=True):
        assert list(mine) == list(its)
        assert mine["segmentation"].shape == its["segmentation"].shape
        differing = np.count_nonzero(mine["segmentation"] != its["segmentation"])
        assert differing <= 2
        assert abs(mine["area"] - its["area"]) <= differing
        assert mine["predicted_iou"] == pytest.approx(its["predicted_iou"], rel=1e-5, abs=1e-5)
        assert mine["stability_score"] == pytest.approx(
            its["stability_score"], rel=1e-2, nan_ok=True
        )
        assert mine["point_coords"] == its["point_coords"]
        assert mine["crop_box"] == its["crop_box"]
        if not differing:
            assert mine["area"] == its["area"]
            assert mine["bbox"] == its["bbox"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", PARAMETERS)
def test_masks_are_upstream_s(case: str, size: str) -> None:
    theirs = upstream_of(case, size)
    assert theirs, "no mask, nothing compared: be more lenient"
    generator = MaskGenerator(tiny_model(), **{**LENIENT, **PARAMETERS[case]})
    assert_same(generator.generate(photo(SIZES[size])), theirs)


@pytest.mark.parametrize("mode", ["uncompressed_rle", "coco_rle"])
def test_run_lengths_are_upstream_s(mode: str) -> None:
    image = photo(SIZES["wide"])
    ours = MaskGenerator(tiny_model(), output_mode=mode, **LENIENT).generate(image)
    theirs = upstream_masks(tiny_model(), image, output_mode=mode, **LENIENT)
    assert [record["segmentation"] for record in ours] == [
        record["segmentation"] for record in theirs
    ]
    assert [record["area"] for record in ours] == [record["area"] for record in theirs]


def test_coco_decodes_what_binary_masks_show() -> None:
    image = photo(SIZES["tall"])
    packed = MaskGenerator(tiny_model(), output_mode="coco_rle", **LENIENT).generate(image)
    plain = MaskGenerator(tiny_model(), **LENIENT).generate(image)
    for one, other in zip(packed, plain, strict=True):
        assert (coco.decode(one["segmentation"]) == other["segmentation"]).all()


def test_a_model_that_finds_nothing_gives_no_masks() -> None:
    image = photo(SIZES["wide"])
    for crops in (0, 1):
        generator = MaskGenerator(tiny_model(), pred_iou_thresh=1e6, crop_n_layers=crops)
        assert generator.generate(image) == []


def test_any_runner_answers() -> None:
    image = photo(SIZES["wide"])
    with ReferenceRunner(tiny_model()) as runner:
        found = MaskGenerator(runner, **LENIENT).generate(image)
    assert_same(found, upstream_of("lenient", "wide"))


@pytest.mark.parametrize("target", ["torchscript", "onnx", "tflite"])
def test_a_bundle_gives_the_masks_of_pytorch(target: str) -> None:
    bundle = tiny_bundle(target)
    image = photo(SIZES["tall"])
    with MaskGenerator(bundle, threads=1, **LENIENT) as generator:
        found = generator.generate(image)
    wanted = MaskGenerator(tiny_model(), **LENIENT).generate(image)
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        both = (one["segmentation"] & other["segmentation"]).sum()
        assert both / (one["segmentation"] | other["segmentation"]).sum() > 0.99
        assert one["point_coords"] == other["point_coords"]


def test_a_closed_generator_has_let_go_of_the_files() -> None:
    generator = MaskGenerator(tiny_bundle("torchscript"), **LENIENT)
    generator.close()
    with pytest.raises(InputError, match="not loaded"):
        generator.generate(photo(SIZES["wide"]))


def test_a_runner_of_the_caller_stays_open() -> None:
    bundle = tiny_bundle("torchscript")
    with open_runner(bundle, "torchscript") as runner:
        for _ in range(2):
            with MaskGenerator(runner, **LENIENT) as generator:
                assert generator.generate(photo(SIZES["wide"]))


def test_a_bundle_without_files_for_the_runtime_is_refused() -> None:
    with pytest.raises(BundleError, match="no files for 'onnxruntime'"):
        MaskGenerator(tiny_bundle("torchscript"), runtime="onnxruntime")


def test_masks_are_only_drawn_where_the_predicted_iou_is_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[float] = []
    original = FastDecoder.masks

    def watched(self: FastDecoder, attended: Attended, chosen: list[int]) -> torch.Tensor:
        drawn.extend(self.iou_predictions(attended)[chosen].tolist())
        return original(self, attended, chosen)

    monkeypatch.setattr(FastDecoder, "masks", watched)
    MaskGenerator(tiny_model(), **{**LENIENT, "pred_iou_thresh": 0.2}).generate(photo((90, 90)))
    assert drawn and min(drawn) > 0.2


def test_every_point_is_reported() -> None:
    generator = MaskGenerator(tiny_model(), crop_n_layers=1, points_per_side=2)
    done: list[None] = []
    image = photo(SIZES["tall"])
    generator.generate(image, on_point=lambda: done.append(None))
    assert len(done) == generator.count_points(SIZES["tall"]) == 4 * 5


@pytest.mark.parametrize("side", [1, 2, 3, 6, 7])
def test_fast_asks_around_the_coarse_points_that_gave_masks(side: int) -> None:
    left_out: list[None] = []
    order = CoarseToFine(side, lambda: left_out.append(None))
    asked: list[int] = []
    for indices in order.rounds():
        asked += indices
        if side + 1 in indices:  # the first coarse point, where there are several
            order.found(side + 1)
    assert len(asked) == len(set(asked)) and len(asked) + len(left_out) == side * side
    cells = {divmod(index, side) for index in asked}
    coarse = {(r, c) for r in range(1, side, 2) for c in range(1, side, 2)}
    around = {(r, c) for r in range(min(3, side)) for c in range(min(3, side))}
    assert cells == coarse | around


def test_fast_finds_masks_that_full_finds() -> None:
    image = photo(SIZES["larger than the frame"])
    full = MaskGenerator(tiny_model(), **LENIENT, box_nms_thresh=1.0).generate(image)
    done: list[None] = []
    generator = MaskGenerator(tiny_model(), **LENIENT, box_nms_thresh=1.0, mode="fast")
    fast = generator.generate(image, on_point=lambda: done.append(None))
    assert len(done) == 16
    known = {(*map(float, r["point_coords"][0]), r["predicted_iou"]) for r in full}
    assert 0 < len(fast) <= len(full)
    assert {(*map(float, r["point_coords"][0]), r["predicted_iou"]) for r in fast} <= known


def test_what_is_no_image_is_refused() -> None:
    generator = MaskGenerator(tiny_model(), **LENIENT)
    with pytest.raises(ImageError, match="float32"):
        generator.generate(np.zeros((8, 8, 3), np.float32))
    with pytest.raises(ImageError, match="no image file"):
        generator.generate("nowhere.jpg")


def test_gradients_are_not_kept() -> None:
    assert torch.is_grad_enabled()
    MaskGenerator(tiny_model(), **LENIENT).generate(photo(SIZES["wide"]))
    assert torch.is_grad_enabled()
