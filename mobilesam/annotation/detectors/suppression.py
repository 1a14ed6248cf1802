"""Of a detector's candidates, those that are told."""

import numpy as np

from mobilesam.annotation.records import Detections
from mobilesam.everything.nms import best_boxes

MOST_CANDIDATES = 30_000
"""More than so many are never compared with each other: the surest are, as Ultralytics has it."""


def suppressed(found: Detections, iou: float | None, most: int) -> Detections:
    """Drop what overlaps with something surer of its class, and what is beyond a number.

    Args:
        found: with confidences, in any order.
        iou: greatest overlap of two boxes of one class; None where they do not overlap any more.
        most: so many are kept, the surest.

    Returns:
        The surest first.
    """
    assert found.conf is not None
    order = np.argsort(-found.conf, kind="stable")[:MOST_CANDIDATES]
    if iou is not None:
        kept = []
        for which in np.unique(found.classes[order]):
            own = order[found.classes[order] == which]
            kept.append(own[best_boxes(found.boxes[own], found.conf[own], iou)])
        together = np.concatenate(kept) if kept else order
        order = together[np.argsort(-found.conf[together], kind="stable")]
    order = order[:most]
    return Detections(found.boxes[order], found.classes[order], found.conf[order])
