"""The click that corrects a mask, as a careful user would make it."""

import numpy as np
import numpy.typing as npt

from mobilesam.data.mask_geometry import deepest

Bools = npt.NDArray[np.bool_]


def correction(truth: Bools, answer: Bools) -> tuple[tuple[int, int], int] | None:
    """The next click: deepest inside what was missed, or inside what was taken wrongly.

    The deeper of the two is chosen, as in the evaluation of interactive segmentation that the SAM
    paper follows (Sofiiuk et al., RITM, arXiv 2102.06583).

    Args:
        truth, answer: [H, W] bool.

    Returns:
        x, y and the label (1 foreground, 0 background), or None where the two masks are equal.
    """
    errors = ((truth & ~answer, 1), (answer & ~truth, 0))
    clicks = [(deepest(error), label) for error, label in errors if error.any()]
    if not clicks:
        return None
    (x, y, _), label = max(clicks, key=lambda click: click[0][2])  # the first where they are equal
    return (x, y), label
