"""A click as a careful user would make it: in the middle of what is meant."""

import numpy as np
import numpy.typing as npt

from mobilesam.errors import MissingDependencyError

Bools = npt.NDArray[np.bool_]


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
            'clicks are placed with SciPy: pip install "mobilesam-export[report]"'
        ) from None
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left = int(rows[0]), int(columns[0])
    # One pixel of margin around the mask's box is all that the distances depend on.
    depth = distance_transform_edt(np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1], 1))
    y, x = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return int(x) - 1 + left, int(y) - 1 + top, float(depth[y, x])
