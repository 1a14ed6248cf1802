"""How far an export is from the reference: each number defined once.

Nothing here turns a non-finite value into a good number: errors of such arrays are NaN, and a
NaN fails every threshold (see :mod:`parity.checks`).
"""

import numpy as np
import numpy.typing as npt

from mobilesam.errors import MissingDependencyError

try:
    from scipy.ndimage import minimum_filter1d
except ModuleNotFoundError:
    raise MissingDependencyError(
        'comparing masks needs SciPy: pip install "mobilesam-export[report]"'
    ) from None

Array = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]

BOUNDARY_WIDTH = 0.02
"""Width of the boundary band of :func:`boundary`, as a share of the image's diagonal."""

SAME_TO_THE_EYE = 0.9
"""Two masks of a lower IoU are seen to differ."""


def is_finite(*arrays: Array) -> bool:
    """Whether every value of every array is finite."""
    return all(bool(np.isfinite(array).all()) for array in arrays)


def max_abs_error(reference: Array, export: Array) -> float:
    """Largest absolute difference; NaN if a value is not finite."""
    if not is_finite(reference, export):
        return float("nan")
    return float(np.max(np.abs(_wide(export) - _wide(reference))))


def relative_l2(reference: Array, export: Array) -> float:
    """||export - reference|| / ||reference|| over all values; NaN if one is not finite.

    Where the reference is all zeros: 0 if the export is too, else infinity.
    """
    if not is_finite(reference, export):
        return float("nan")
    error, norm = _norm(_wide(export) - _wide(reference)), _norm(_wide(reference))
    if norm == 0:
        return 0.0 if error == 0 else float("inf")
    return error / norm


def channel_relative_l2(reference: Array, export: Array) -> float:
    """The worst channel's ||export - reference|| / ||reference||; NaN if a value is not finite.

    A channel counts as having at least a tenth of the channels' root mean square norm: of one that
    is nearly dead, small errors are large.

    Args:
        reference, export: (1, C, H, W).
    """
    if not is_finite(reference, export):
        return float("nan")
    wanted = _wide(reference)
    errors = np.linalg.norm((_wide(export) - wanted).reshape(wanted.shape[1], -1), axis=1)
    norms = np.linalg.norm(wanted.reshape(wanted.shape[1], -1), axis=1)
    floor = 0.1 * float(np.sqrt(np.mean(norms**2)))
    if floor == 0:
        return float("inf") if errors.any() else 0.0
    return float(np.max(errors / np.maximum(norms, floor)))


def mask_norms(reference: Array) -> npt.NDArray[np.float64]:
    """Norms [masks] of a case's logits (masks, H, W), to hold the masks' errors against.

    A mask counts as having at least half of the masks' root mean square norm: all are drawn from
    the same features, whose errors are as large in a mask whose logits lie close to zero.
    """
    norms = np.array([_norm(_wide(mask)) for mask in reference])
    return np.maximum(norms, 0.5 * np.sqrt(np.mean(norms**2)))


def mask_relative_l2(reference: Array, export: Array, norm: float) -> float:
    """One mask's ||export - reference|| / norm of logits [H, W]; NaN if a value is not finite.

    Where the norm, one of :func:`mask_norms`, is 0: 0 if both are equal, else infinity.
    """
    if not is_finite(reference, export):
        return float("nan")
    error = _norm(_wide(export) - _wide(reference))
    if norm == 0:
        return 0.0 if error == 0 else float("inf")
    return error / norm


def cosine(reference: Array, export: Array) -> float:
    """Cosine of the angle between the two as vectors; NaN where it is not defined."""
    if not is_finite(reference, export):
        return float("nan")
    a, b = _wide(reference), _wide(export)
    norms = _norm(a) * _norm(b)
    return float(np.sum(a * b)) / norms if norms else float("nan")


def psnr_db(reference: Array, export: Array) -> float | None:
    """20 log10(peak / RMSE) in decibels; the peak is the reference's range, its max - min.

    None where the arrays are equal (infinite); NaN if a value is not finite or the reference is
    constant.
    """
    if not is_finite(reference, export):
        return float("nan")
    rmse = float(np.sqrt(np.mean((_wide(export) - _wide(reference)) ** 2)))
    if rmse == 0:
        return None
    peak = float(np.max(reference)) - float(np.min(reference))
    return 20 * float(np.log10(peak / rmse)) if peak else float("nan")


def spread_ratio(reference: Array, export: Array) -> float:
    """Standard deviation of the export over the reference's: 0 for a constant output, about 1 else.

    NaN if a value is not finite or the reference is constant.
    """
    if not is_finite(reference, export):
        return float("nan")
    spread = float(np.std(_wide(reference)))
    return float(np.std(_wide(export))) / spread if spread else float("nan")


def iou(a: Bools, b: Bools) -> float:
    """Intersection over union of two masks; 1 where both are empty."""
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else 1.0


def boundary(mask: Bools) -> Bools:
    """The pixels of a mask [H, W] near its outline: the mask without its erosion.

    As in Cheng et al., "Boundary IoU" (2021, arXiv 2103.16562): eroded by a 3x3 square d times,
    where d is 2 % of the image's diagonal, and the image's edge counts as outline.
    """
    height, width = mask.shape
    d = max(1, round(BOUNDARY_WIDTH * float(np.hypot(height, width))))
    # d erosions by 3x3 are one by a (2d + 1) square, which is separable; outside the image is 0.
    eroded = mask.view(np.uint8)
    for axis in (0, 1):
        eroded = minimum_filter1d(eroded, 2 * d + 1, axis=axis, mode="constant", cval=0)
    return mask & ~eroded.view(np.bool_)


def _norm(array: npt.NDArray[np.float64]) -> float:
    # Not np.linalg.norm: BLAS starts threads, which wait longer than these few values take.
    return float(np.sqrt(np.sum(np.square(array))))


def _wide(array: Array) -> npt.NDArray[np.float64]:
    return np.asarray(array, dtype=np.float64)
