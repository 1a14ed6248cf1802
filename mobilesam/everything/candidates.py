"""Masks that a decoder offers for a point, judged at the photo's size."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from mobilesam.everything import rle
from mobilesam.everything.settings import Settings
from mobilesam.everything.upscaling import Upscaling, Window
from mobilesam.inference.transforms import MASK_THRESHOLD, Frame

CLEARLY_UNSTABLE = 0.1
"""How much lower than asked the stability score of low-res logits may be before the score at the
photo's size is not looked at. Over 192 masks of one photo the two differed by at most 0.03 (earlier
demo weights)."""


@dataclass(frozen=True)
class Candidate:
    """A mask that is good enough by itself.

    Attributes:
        predicted_iou: the decoder's own.
        stability_score: IoU of the mask at a higher and a lower threshold.
        box: x1, y1, x2, y2 of its outermost pixels, in the crop; zeros for an empty mask.
        point: x, y that was asked about, in the crop.
        window: the logits it is drawn from; None for an empty mask.
    """

    predicted_iou: float
    stability_score: float
    box: tuple[int, int, int, int]
    point: tuple[float, float]
    window: Window | None


class Judge:
    """Measures the masks of one photo, or of one crop of it, and drops those that miss.

    Args:
        settings: what masks must be like.
        frame: how the crop lies in the model's frame.
        low_res_size: L, side of the logits.
    """

    def __init__(self, settings: Settings, frame: Frame, low_res_size: int) -> None:
        self._settings = settings
        self._size = frame.original_size
        self._upscaling = Upscaling(frame, low_res_size)
        height, width = (-(-side * low_res_size // frame.image_size) for side in frame.valid_size)
        self._valid = slice(height), slice(width)

    @property
    def needed(self) -> tuple[int, int]:
        """How many rows and columns of low-res logits are looked at, from the first on."""
        return self._upscaling.needed

    def good_iou(self, iou: npt.NDArray[np.float32]) -> list[int]:
        """Which of the predicted IoUs [K] are good enough."""
        least = self._settings.pred_iou_thresh
        return [i for i, value in enumerate(iou) if least <= 0 or value > least]

    def candidate(
        self, logits: Tensor, predicted_iou: float, point: tuple[float, float]
    ) -> Candidate | None:
        """The mask of low-res logits, or None if it is not stable enough.

        Args:
            logits: [L, L], or as many of the first rows and columns as are :attr:`needed`.
            predicted_iou: the decoder's own.
            point: x, y that was asked about, in the crop.
        """
        least, offset = (
            self._settings.stability_score_thresh,
            self._settings.stability_score_offset,
        )
        if least > 0 and _stability(logits[self._valid].numpy(), offset) < least - CLEARLY_UNSTABLE:
            return None
        window = self._upscaling.window(logits, MASK_THRESHOLD - offset)
        if window is None:  # an empty mask, whose score is 0 / 0
            stability, box, mask_window = float("nan"), (0, 0, 0, 0), None
        else:
            upscaled = self._upscaling.columns_first(window)
            stability = _stability(upscaled, offset)
            box = _box(upscaled > MASK_THRESHOLD, window)
            mask_window = self._upscaling.window(logits, MASK_THRESHOLD)
        if least > 0 and not stability >= least:
            return None
        if mask_window is not None:  # a copy, so that not all logits of a point are kept for it
            mask_window = mask_window._replace(logits=mask_window.logits.clone())
        return Candidate(predicted_iou, stability, box, point, mask_window)

    def mask(self, candidate: Candidate) -> npt.NDArray[np.bool_]:
        """The candidate's mask, HxW of the crop."""
        mask = np.zeros(self._size[::-1], np.bool_)
        window = candidate.window
        if window is not None:
            part = self._upscaling.columns_first(window) > MASK_THRESHOLD
            mask[slice(*window.columns), slice(*window.rows)] = part
        return mask.T


@dataclass(frozen=True)
class Found:
    """A mask of the photo.

    Attributes:
        predicted_iou, stability_score: as of :class:`Candidate`.
        box: x1, y1, x2, y2 in the photo.
        point: x, y that was asked about, in the photo.
        crop_box: x1, y1, x2, y2 of the crop it was found in.
        counts: run lengths of the mask.
    """

    predicted_iou: float
    stability_score: float
    box: tuple[int, int, int, int]
    point: tuple[float, float]
    crop_box: tuple[int, int, int, int]
    counts: rle.Counts


def box_of(mask: npt.NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2 of a mask's outermost pixels, HxW; zeros if it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def _box(part: npt.NDArray[np.bool_], window: Window) -> tuple[int, int, int, int]:
    """The box, in the crop, of a window's mask [columns, rows]."""
    if not part.any():
        return 0, 0, 0, 0
    x1, y1, x2, y2 = box_of(part.T)
    left, top = window.columns.start, window.rows.start
    return left + x1, top + y1, left + x2, top + y2


def _stability(logits: npt.NDArray[np.float32], offset: float) -> float:
    """IoU of the masks at a threshold that is higher, and lower, by the offset; NaN for none."""
    union = np.count_nonzero(logits > MASK_THRESHOLD - offset)
    if not union:
        return float("nan")
    return np.count_nonzero(logits > MASK_THRESHOLD + offset) / union
