"""A mask's polygon gives the mask again, whatever its shape, filled by pixel centres."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco
from skimage.draw import polygon2mask

from mobilesam.sam.polygons import polygon_of


def drawn(rows: str) -> np.ndarray:
    return np.array([[pixel == "#" for pixel in row] for row in rows.split()])


MASKS = {
    "pixel": drawn("... .#. ..."),
    "whole": np.ones((3, 5), bool),
    "corner": drawn("##.. ##.. ...."),
    "ring": drawn("##### #...# #.#.# #...# #####"),
    "pieces": drawn("##..... ##...#. ....... ..###.. ..#.#.. ..###.."),
    "diagonal": drawn("#... .#.. ..#. ...#"),
    "chequered": np.indices((9, 12)).sum(0) % 2 == 0,
}


def filled(polygon: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The pixels whose centre lies in a polygon, by scikit-image."""
    mask: np.ndarray = polygon2mask(shape, polygon[:, ::-1] - 0.5)
    return mask


def by_coco(polygon: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    runs = coco.frPyObjects([polygon.astype(float).ravel().tolist()], *shape)
    mask: np.ndarray = coco.decode(coco.merge(runs)).astype(bool)
    return mask


@pytest.mark.parametrize("name", MASKS)
def test_the_mask_comes_back(name: str) -> None:
    mask = MASKS[name]
    polygon = polygon_of(mask)
    assert polygon.dtype == np.float32 and polygon.shape[1] == 2
    assert (polygon >= 0).all() and (polygon <= mask.shape[::-1]).all()
    assert np.array_equal(filled(polygon, mask.shape), mask)
    assert np.array_equal(by_coco(polygon, mask.shape), mask)


def test_a_straight_side_has_no_points_in_between() -> None:
    mask = np.zeros((40, 50), bool)
    mask[10:30, 5:45] = True
    assert len(polygon_of(mask)) == 8  # of a rectangle, whose four corners are cut


def test_no_mask_has_no_polygon() -> None:
    assert polygon_of(np.zeros((4, 5), bool)).shape == (0, 2)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95), st.integers(2, 30), st.integers(2, 30))
def test_any_noise_comes_back(seed: int, share: float, height: int, width: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    if mask.any():
        polygon = polygon_of(mask)
        assert np.array_equal(filled(polygon, mask.shape), mask)
        assert np.array_equal(by_coco(polygon, mask.shape), mask)


def test_hundreds_of_pieces_are_one_polygon() -> None:
    mask = np.random.default_rng(0).random((80, 80)) < 0.5
    assert np.array_equal(filled(polygon_of(mask), mask.shape), mask)
