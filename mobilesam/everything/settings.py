"""What a mask generator can be asked for: SAM's parameters, with SAM's names and defaults."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from mobilesam.errors import InputError, MissingDependencyError

OUTPUT_MODES = ("binary_mask", "uncompressed_rle", "coco_rle")
MODES = ("full", "fast")
MOST_POINTS_PER_SIDE = 1024


@dataclass(frozen=True)
class Settings:
    """The parameters of segment-anything's automatic mask generation, and a mode.

    Attributes:
        points_per_side: the points asked about form a grid of so many a side; None where
            ``point_grids`` names them.
        points_per_batch: how many points a decoder is asked about at a time, where it can take
            several. PyTorch is asked one at a time, which is fastest there.
        pred_iou_thresh: a mask is dropped unless its predicted IoU is greater.
        stability_score_thresh: a mask is dropped if its stability score is less.
        stability_score_offset: the score is the IoU of the masks at a threshold this much higher
            and this much lower.
        box_nms_thresh: of two masks whose boxes have a greater IoU, the one of lower predicted IoU
            is dropped.
        crop_n_layers: layers of crops that are asked about too; the n-th has 2**n x 2**n.
        crop_nms_thresh: as ``box_nms_thresh``, between crops; there the smaller crop's mask stays.
        crop_overlap_ratio: by how much crops overlap, of the photo's short side, in layer 1.
        crop_n_points_downscale_factor: the n-th layer's grid has this to the n times fewer points
            a side.
        point_grids: for each layer, points [N, 2], x and y from 0 to 1.
        min_mask_region_area: holes and islands of fewer pixels are removed; 0 leaves all.
        output_mode: one of :data:`OUTPUT_MODES`.
        mode: ``full`` asks about every point; ``fast`` about every second one of every second row,
            and about the others where one beside them gave a mask.

    Raises:
        InputError: a value that cannot be used, in one sentence.
        MissingDependencyError: ``coco_rle`` or ``min_mask_region_area`` needs a library that is
            not installed.
    """

    points_per_side: int | None = 32
    points_per_batch: int = 64
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7
    crop_n_layers: int = 0
    crop_nms_thresh: float = 0.7
    crop_overlap_ratio: float = 512 / 1500
    crop_n_points_downscale_factor: int = 1
    point_grids: Sequence[npt.ArrayLike] | None = None
    min_mask_region_area: float = 0
    output_mode: str = "binary_mask"
    mode: str = "full"

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> "Settings":
        """Settings from named parameters.

        Raises:
            InputError: there is no parameter of a name; and as the class.
        """
        known = [field.name for field in fields(cls)]
        for name in parameters:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known)}"
                raise InputError(f"the mask generator has no parameter '{name}': {hint}")
        return cls(**parameters)

    def __post_init__(self) -> None:
        _whole("points_per_batch", self.points_per_batch, 1)
        _whole("crop_n_layers", self.crop_n_layers, 0)
        _whole("crop_n_points_downscale_factor", self.crop_n_points_downscale_factor, 1)
        _number("pred_iou_thresh", self.pred_iou_thresh)
        _number("stability_score_thresh", self.stability_score_thresh)
        _number("stability_score_offset", self.stability_score_offset, 0.0)
        _number("box_nms_thresh", self.box_nms_thresh, 0.0, 1.0)
        _number("crop_nms_thresh", self.crop_nms_thresh, 0.0, 1.0)
        _number("crop_overlap_ratio", self.crop_overlap_ratio, 0.0, 1.0)
        _number("min_mask_region_area", self.min_mask_region_area, 0.0)
        _one_of("output_mode", self.output_mode, OUTPUT_MODES)
        _one_of("mode", self.mode, MODES)
        self._check_points()
        if self.mode == "fast" and self.points_per_side is None:
            raise InputError("mode 'fast' needs the even grid of points_per_side, not point_grids")
        if self.output_mode == "coco_rle":
            _require("pycocotools", "output_mode 'coco_rle'")
        if self.min_mask_region_area > 0:
            _require("scipy", "min_mask_region_area")

    @property
    def grids(self) -> list[npt.NDArray[np.float64]]:
        """Points [N, 2] of each layer, x and y from 0 to 1; row by row."""
        if self.point_grids is not None:
            return [np.asarray(grid, np.float64) for grid in self.point_grids]
        assert self.points_per_side is not None
        factor = self.crop_n_points_downscale_factor
        layers = range(self.crop_n_layers + 1)
        return [even_grid(int(self.points_per_side / factor**layer)) for layer in layers]

    def _check_points(self) -> None:
        if (self.points_per_side is None) == (self.point_grids is None):
            raise InputError(
                "give either points_per_side or point_grids: with point_grids of your own, "
                "points_per_side is None"
            )
        layers = self.crop_n_layers
        if self.points_per_side is not None:
            _whole("points_per_side", self.points_per_side, 1, MOST_POINTS_PER_SIDE)
            least = self.crop_n_points_downscale_factor**layers
            if self.points_per_side < least:
                raise InputError(
                    f"points_per_side is {self.points_per_side}, of which crop layer {layers} "
                    f"keeps none: give at least {least}, or a smaller "
                    "crop_n_points_downscale_factor"
                )
            return
        assert self.point_grids is not None
        if len(self.point_grids) <= layers:
            raise InputError(
                f"point_grids has {len(self.point_grids)} grid(s) for {layers + 1} layer(s): give "
                "one for the photo and one for each of crop_n_layers"
            )
        for number, given in enumerate(self.point_grids):
            _check_grid(given, number)


def even_grid(side: int) -> npt.NDArray[np.float64]:
    """The centres of side x side equal cells, [side**2, 2], row by row."""
    centres = np.linspace(1 / (2 * side), 1 - 1 / (2 * side), side)
    y, x = np.meshgrid(centres, centres, indexing="ij")
    return np.stack([x, y], axis=-1).reshape(-1, 2)


def _check_grid(given: npt.ArrayLike, number: int) -> None:
    try:
        grid = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"grid {number} of point_grids does not hold numbers") from None
    if grid.ndim != 2 or grid.shape[1] != 2 or not len(grid):
        raise InputError(
            f"grid {number} of point_grids has the shape {list(grid.shape)}: give x and y of each "
            "point, [N, 2]"
        )
    if not ((grid >= 0) & (grid <= 1)).all():  # not so for NaN either
        raise InputError(
            f"grid {number} of point_grids has a point outside the photo: x and y are shares of "
            "its width and height, 0 to 1"
        )


def _whole(name: str, value: object, least: int, most: int | None = None) -> None:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):  # type: ignore[operator]
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise InputError(f"{name} must be a whole number {bounds}, not {value!r}")


def _number(name: str, value: object, low: float | None = None, high: float | None = None) -> None:
    fits = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if fits and math.isfinite(number := float(value)):  # type: ignore[arg-type]
        if (low is None or number >= low) and (high is None or number <= high):
            return
    bounds = "" if low is None else f" of at least {low:g}"
    if low is not None and high is not None:
        bounds = f" from {low:g} to {high:g}"
    raise InputError(f"{name} must be a number{bounds}, not {value!r}")


def _one_of(name: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        raise InputError(f"{name} must be one of {', '.join(known)}, not {value!r}")


def _require(library: str, what: str) -> None:
    if find_spec(library) is None:
        raise MissingDependencyError(
            f'{what} needs {library}: pip install "mobilesam-export[report]"'
        )
