"""A mask as one closed polygon, exactly: holes and separate pieces are joined to it by seams."""

import numpy as np
import numpy.typing as npt

from mobilesam.data.mask_geometry import tight_box
from mobilesam.errors import MissingDependencyError

Bools = npt.NDArray[np.bool_]
Polygon = npt.NDArray[np.float32]
_Points = npt.NDArray[np.float64]

_STALE = 1.1
"""A search tree is built again when there are so many times as many corners as it knows."""


def polygon_of(mask: Bools) -> Polygon:
    """The outline of a mask.

    A pixel is mask exactly if its centre lies in the polygon. The outline therefore runs between
    the centres of pixels and cuts corners, at most half a pixel from their edges. A hole, or a
    piece apart from the largest, is reached by a seam: a line that is walked there and back, and
    encloses nothing. So one polygon says all, as YOLO's label files need it, whether it is filled
    by the even-odd rule or by winding.

    Args:
        mask: [H, W].

    Returns:
        Corners [N, 2], x from 0 to W and y from 0 to H in pixels; (0, 0) is the image's top-left
        corner and the first pixel's centre (0.5, 0.5). The last corner is not the first one again.
        N is 0 where the mask is empty.

    Raises:
        MissingDependencyError: scikit-image is not installed.
    """
    try:
        from skimage.measure import find_contours
    except ModuleNotFoundError:
        raise MissingDependencyError(
            'polygons are traced by scikit-image: pip install "mobilesam-export[report]"'
        ) from None
    if not mask.any():
        return np.zeros((0, 2), np.float32)
    left, top, right, bottom = tight_box(mask)
    # One pixel of background all round, so that every outline is closed.
    padded = np.pad(mask[top:bottom, left:right], 1).astype(np.uint8)
    pieces = [_corners(piece[:-1, ::-1]) for piece in find_contours(padded, 0.5)]
    # From centres of the padded pixels to edges of the mask's.
    return (_joined(pieces) + (left - 0.5, top - 0.5)).astype(np.float32)


def _corners(outline: _Points) -> _Points:
    """An outline [N, 2] without the points that lie on the line between their neighbours."""
    before = outline - np.roll(outline, 1, axis=0)
    after = np.roll(outline, -1, axis=0) - outline
    return outline[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]


def _joined(pieces: list[_Points]) -> _Points:
    """All pieces as one polygon, each joined by a seam to a longer one that is near."""
    from scipy.spatial import cKDTree

    pieces = sorted(pieces, key=len, reverse=True)
    points = np.concatenate(pieces)
    starts = np.cumsum([0, *map(len, pieces)])
    owners = np.repeat(np.arange(len(pieces)), np.diff(starts))
    first = [0] * len(pieces)  # the corner of each piece at which its seam ends
    joined_to: dict[int, list[tuple[int, int]]] = {}  # by piece: at which corner, and which piece
    known, tree = 0, None
    for number in range(1, len(pieces)):
        start, end = starts[number : number + 2]
        # A tree of most of the longer pieces will do; one more for each of many takes long.
        if tree is None or start > _STALE * known:
            known, tree = start, cKDTree(points[:start])
        distances, nearest = tree.query(points[start:end])
        first[number] = int(np.argmin(distances))
        seam = int(nearest[first[number]])
        joined_to.setdefault(int(owners[seam]), []).append((seam, number))
    loops: dict[int, npt.NDArray[np.intp]] = {}
    for number in reversed(range(len(pieces))):  # what is joined to a piece comes after it
        own = np.roll(np.arange(starts[number], starts[number + 1]), -first[number])
        parts, done = [], 0
        places = ((int((at - own[0]) % len(own)), other) for at, other in joined_to.get(number, ()))
        for place, other in sorted(places):
            loop = loops.pop(other)
            parts += [own[done : place + 1], loop, loop[:1]]
            done = place
        loops[number] = np.concatenate([*parts, own[done:]])
    return points[loops[0]]
