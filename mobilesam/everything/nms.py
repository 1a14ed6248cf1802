"""Of masks whose boxes are nearly the same, the best."""

import numpy as np
import numpy.typing as npt

from mobilesam.everything.crops import Boxes


def best_boxes(
    boxes: Boxes, scores: npt.NDArray[np.floating], threshold: float
) -> npt.NDArray[np.intp]:
    """Non-maximum suppression: go from the best to the worst, drop what is too near a better one.

    Args:
        boxes: [N, 4].
        scores: [N]; of equal ones the first counts as better.
        threshold: boxes of a greater IoU than this are too near.

    Returns:
        Indices of the boxes that stay, the best first.
    """
    corners = boxes.astype(np.float64)
    areas = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    left = np.argsort(-scores, kind="stable")
    kept: list[np.intp] = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        low = np.maximum(corners[best, :2], corners[left, :2])
        high = np.minimum(corners[best, 2:], corners[left, 2:])
        overlap = (high - low).clip(min=0).prod(axis=1)
        # Written as a product, so that two boxes without area do not divide zero by zero.
        left = left[overlap <= threshold * (areas[best] + areas[left] - overlap)]
    return np.array(kept, dtype=np.intp)
