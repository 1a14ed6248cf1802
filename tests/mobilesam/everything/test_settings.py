"""What a mask generator is asked for: SAM's defaults, and a sentence for what cannot be."""

import inspect
from typing import Any

import numpy as np
import pytest

from mobilesam.errors import InputError, MissingDependencyError
from mobilesam.everything import settings as module
from mobilesam.everything.settings import Settings, even_grid
from tests.upstream.oracle import import_upstream

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no such parameter": ({"pred_iou_treshold": 0.5}, "did you mean 'pred_iou_thresh'"),
    "nothing like it": ({"zzz": 1}, "no parameter 'zzz': there are points_per_side"),
    "no points": ({"points_per_side": 0}, "points_per_side must be a whole number from 1 to 1024"),
    "too many points": ({"points_per_side": 1025}, "from 1 to 1024, not 1025"),
    "half a point": ({"points_per_side": 1.5}, "not 1.5"),
    "a truth": ({"points_per_side": True}, "not True"),
    "text": ({"pred_iou_thresh": "high"}, "pred_iou_thresh must be a number, not 'high'"),
    "no number": ({"stability_score_thresh": float("nan")}, "not nan"),
    "no batch": ({"points_per_batch": 0}, "points_per_batch"),
    "a negative offset": ({"stability_score_offset": -1}, "of at least 0, not -1"),
    "an IoU over 1": ({"box_nms_thresh": 1.5}, "from 0 to 1, not 1.5"),
    "another IoU": ({"crop_nms_thresh": -0.1}, "from 0 to 1, not -0.1"),
    "an overlap over 1": ({"crop_overlap_ratio": 2}, "from 0 to 1, not 2"),
    "negative layers": ({"crop_n_layers": -1}, "crop_n_layers"),
    "no factor": ({"crop_n_points_downscale_factor": 0}, "crop_n_points_downscale_factor"),
    "a negative area": ({"min_mask_region_area": -5}, "min_mask_region_area"),
    "a mode that is none": ({"output_mode": "polygon"}, "binary_mask, uncompressed_rle, coco_rle"),
    "a pace that is none": ({"mode": "quick"}, "full, fast"),
    "two kinds of points": ({"point_grids": [[[0.5, 0.5]]]}, "either points_per_side or point_"),
    "no kind of points": ({"points_per_side": None}, "either points_per_side or point_grids"),
    "a layer without points": (
        {"points_per_side": 3, "crop_n_layers": 2, "crop_n_points_downscale_factor": 2},
        "of which crop layer 2 keeps none: give at least 4",
    ),
    "a layer without a grid": (
        {"points_per_side": None, "point_grids": [[[0.5, 0.5]]], "crop_n_layers": 1},
        r"1 grid\(s\) for 2 layer\(s\)",
    ),
    "a flat grid": ({"points_per_side": None, "point_grids": [[0.5, 0.5]]}, r"shape \[2\]"),
    "an empty grid": ({"points_per_side": None, "point_grids": [np.zeros((0, 2))]}, r"\[0, 2\]"),
    "a ragged grid": ({"points_per_side": None, "point_grids": [[[1], [2, 3]]]}, "numbers"),
    "pixels": ({"points_per_side": None, "point_grids": [[[100, 50]]]}, "0 to 1"),
    "no grid to be coarse": (
        {"points_per_side": None, "point_grids": [[[0.5, 0.5]]], "mode": "fast"},
        "mode 'fast' needs the even grid",
    ),
    "a point nowhere": ({"points_per_side": None, "point_grids": [[[0.5, np.nan]]]}, "0 to 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_refused_in_one_sentence(case: str) -> None:
    parameters, words = BAD[case]
    with pytest.raises(InputError, match=words) as caught:
        Settings.of(parameters)
    assert "\n" not in str(caught.value)


def test_names_and_defaults_are_upstream_s() -> None:
    upstream = inspect.signature(import_upstream().SamAutomaticMaskGenerator.__init__).parameters
    theirs = {name: p.default for name, p in upstream.items() if name not in ("self", "model")}
    ours = {name: getattr(Settings(), name) for name in theirs}
    assert ours == theirs
    assert {*vars(Settings())} - {*theirs} == {"mode"}


def test_grids_are_upstream_s() -> None:
    build = import_upstream().utils.amg.build_all_layer_point_grids
    ours = Settings(points_per_side=9, crop_n_layers=3, crop_n_points_downscale_factor=2).grids
    for one, other in zip(ours, build(9, 3, 2), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-15)
    assert even_grid(1).tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize(
    "library, parameters",
    [("pycocotools", {"output_mode": "coco_rle"}), ("scipy", {"min_mask_region_area": 10})],
)
def test_a_library_that_is_missing_is_named(
    library: str, parameters: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == library else object())
    with pytest.raises(MissingDependencyError, match=rf"{library}: pip install"):
        Settings.of(parameters)
    Settings()
