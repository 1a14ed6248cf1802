"""Small holes and islands of masks."""

import numpy as np
import numpy.typing as npt

BoolMask = npt.NDArray[np.bool_]
_ALL_NEIGHBOURS = np.ones((3, 3), bool)


def without_small_regions(mask: BoolMask, least: float) -> BoolMask:
    """Fill the holes, then remove the islands, of fewer than ``least`` pixels.

    Regions that touch at a corner are one. Where every island is small, the largest stays.

    Args:
        mask: HxW.
        least: pixels.

    Returns:
        The mask itself where nothing was changed.
    """
    holes = _small(~mask, least)
    if holes.any():
        mask = mask | holes
    islands = _small(mask, least)
    if islands.any():
        largest = _largest(mask) if (islands == mask).all() else False
        mask = mask & ~islands | largest
    return mask


def _sizes(mask: BoolMask) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Number of each pixel's region, 0 outside, and pixels of each number."""
    from scipy import ndimage

    labels, _ = ndimage.label(mask, structure=_ALL_NEIGHBOURS)
    return labels, np.bincount(labels.ravel())


def _small(mask: BoolMask, least: float) -> BoolMask:
    """The pixels of small regions."""
    labels, sizes = _sizes(mask)
    small = sizes < least
    small[0] = False
    return small[labels]


def _largest(mask: BoolMask) -> BoolMask:
    """The pixels of the largest region."""
    labels, sizes = _sizes(mask)
    largest: BoolMask = labels == 1 + int(sizes[1:].argmax())
    return largest
