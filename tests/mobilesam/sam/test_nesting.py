"""How lists are nested says which object a point is of; what says nothing is refused."""

from typing import Any

import numpy as np
import pytest
import torch

from mobilesam.errors import PromptError
from mobilesam.sam.prompts import Asked, asked_objects

A, B, C = [10, 20], [30.5, 40], [5, 6]
BOX, OTHER = [1, 2, 30, 40], [5, 6, 50, 60]


@pytest.mark.parametrize(
    ("points", "labels", "bboxes", "meant"),
    [
        (A, [1], None, [Asked([A], [1])]),
        (A, 1, None, [Asked([A], [1])]),
        (A, None, None, [Asked([A], [1])]),
        (A, [0], BOX, [Asked([A], [0], BOX)]),
        ([A], [1], [BOX], [Asked([A], [1], BOX)]),
        ([A, B], [1, 0], None, [Asked([A], [1]), Asked([B], [0])]),
        ([A, B], None, None, [Asked([A], [1]), Asked([B], [1])]),
        ([[A, B]], [[1, 0]], None, [Asked([A, B], [1, 0])]),
        ([[A, B]], None, BOX, [Asked([A, B], [1, 1], BOX)]),
        ([[A, B], [C]], [[1, 0], [1]], None, [Asked([A, B], [1, 0]), Asked([C], [1])]),
        ([[A], [B]], [[1], [1]], [BOX, OTHER], [Asked([A], [1], BOX), Asked([B], [1], OTHER)]),
        (None, None, BOX, [Asked([], [], BOX)]),
        (None, None, [BOX, OTHER], [Asked([], [], BOX), Asked([], [], OTHER)]),
        (None, None, [], []),
        ([], [], None, []),
        (None, None, None, None),
    ],
)
def test_what_is_meant(points: Any, labels: Any, bboxes: Any, meant: list[Asked] | None) -> None:
    assert asked_objects(points, labels, bboxes) == meant
    for kind in (np.array, torch.tensor, lambda each: tuple(each)):
        try:
            given = [v if v is None or isinstance(v, int) else kind(v) for v in
                     (points, labels, bboxes)]  # fmt: skip
        except ValueError:  # lists of different lengths are no array
            continue
        found = asked_objects(*given)
        assert (found is None) == (meant is None)
        for one, other in zip(found or [], meant or [], strict=True):
            assert one.points == other.points and one.labels == other.labels
            assert one.box == other.box


def test_a_detector_that_found_nothing_asks_about_nothing() -> None:
    nothing: list[Any] = [np.empty((0, 4)), torch.empty(0, 4), [], ()]
    for empty in nothing:
        assert asked_objects(None, None, empty) == []
    assert asked_objects(np.empty((0, 2)), np.empty(0), np.empty((0, 4))) == []


@pytest.mark.parametrize(
    ("points", "labels", "bboxes", "said"),
    [
        (None, [1], None, "labels were given without points"),
        (None, [1], BOX, "labels were given without points"),
        (A, [1, 0], None, "one point [x, y] has one label, as in [1], not [1, 0]"),
        (A, [[1, 0]], None, "one point [x, y] has one label"),
        ([A, B], [1], None, "2 point(s) but 1 label(s)"),
        ([A, B], [1, 0, 1], None, "2 point(s) but 3 label(s)"),
        ([A, B], 1, None, "are an object each and have one label each"),
        ([A, B], [[1, 0]], None, "nested once more, as in [[[x, y], [x, y]]]"),
        ([A, B], [[1], [0]], None, "have one label each, as in [1, 1], not [[1], [0]]"),
        ([[A, B]], [1, 0], None, "one list for each object, as in [[1, 0]], not [1, 0]"),
        ([[A, B]], [[1]], None, "object 0 has 2 point(s) but 1 label(s)"),
        ([[A, B], [C]], [[1, 0], [1, 1]], None, "object 1 has 1 point(s) but 2 label(s)"),
        ([[A, B], [C]], [[1, 0]], None, "one list for each object"),
        ([[A, B]], [[[1], [0]]], None, "nested too deep"),
        ([[A, B], []], None, None, "object 1 has no points"),
        ([A, [B]], None, None, "all nested equally deep"),
        ([[[A]]], None, None, "or lists of [x, y], all nested equally deep"),
        (5, None, None, "points must be [x, y], or"),
        ([1, 2, 3], None, None, "points must be [x, y], or lists of [x, y], not [1, 2, 3]"),
        ([[1, 2], [3]], None, None, "not [3]"),
        ([["left", 2]], None, None, "points must be numbers in lists, not 'left'"),
        ("left", None, None, "points must be numbers"),
        (A, ["in"], None, "labels must be numbers in lists, not 'in'"),
        ({"x": 1}, None, None, "points must be numbers"),
        (None, None, [1, 2, 3], "bboxes must be [x1, y1, x2, y2], or lists"),
        (None, None, [[BOX]], "bboxes must be one box [x1, y1, x2, y2], or a list of them"),
        (None, None, [BOX, 4], "all nested equally deep"),
        ([A, B], None, BOX, "points of 2 object(s) but 1 box(es)"),
        ([A, B], None, [BOX], "points of one object are nested once more"),
        (A, None, [BOX, OTHER], "points of 1 object(s) but 2 box(es)"),
        (A, None, [], "points of 1 object(s) but 0 box(es)"),
    ],
)
def test_what_says_nothing_is_refused(points: Any, labels: Any, bboxes: Any, said: str) -> None:
    with pytest.raises(PromptError) as refused:
        asked_objects(points, labels, bboxes)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
