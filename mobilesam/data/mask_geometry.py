"""Where a mask lies: its tight box, and the click that a careful user would make on it."""

import numpy as np
import numpy.typing as npt

from mobilesam.errors import MissingDependencyError

Bools = npt.NDArray[np.bool_]


def tight_box(mask: Bools) -> tuple[int, int, int, int]:
    """The smallest box around a mask: x1, y1, x2, y2 in pixels, the last two just outside.

    Args:
        mask: [H, W] bool with at least one pixel.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def deepest(mask: Bools) -> tuple[int, int, float]:
    """The pixel farthest from the mask's outline; the image's edge counts as outline.

    Args:
        mask: [H, W] bool with at least one pixel.

    Returns:
        x, y, and the distance in pixels to the nearest pixel that is not mask.

    Raises:
        MissingDependencyError: SciPy is not installed.
    """
    try:
        from scipy.ndimage import distance_transform_edt
    except ModuleNotFoundError:
        raise MissingDependencyError(
            'clicks are placed with SciPy: pip install "mobilesam-export[report]" (or [train])'
        ) from None
    left, top, right, bottom = tight_box(mask)
    # One pixel of margin around the mask's box is all that the distances depend on.
    depth = distance_transform_edt(np.pad(mask[top:bottom, left:right], 1))
    y, x = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return int(x) - 1 + left, int(y) - 1 + top, float(depth[y, x])
