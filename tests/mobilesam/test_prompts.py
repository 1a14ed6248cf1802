"""Prompts are checked once: each mistake gets one sentence that says what would be right."""

import numpy as np
import pytest

from mobilesam.errors import PromptError
from mobilesam.inference.prompts import make_prompt

SIZE = (480, 640)


def test_a_single_point_is_ambiguous() -> None:
    prompt = make_prompt([[10, 20]], [1], original_size=SIZE)
    assert prompt.is_ambiguous
    assert prompt.point_coords.dtype == np.float32 and prompt.point_coords.shape == (1, 2)


@pytest.mark.parametrize(
    "given",
    [
        {"point_coords": [[10, 20], [30, 40]], "point_labels": [1, 0]},
        {"box": [10, 20, 30, 40]},
        {"point_coords": [[10, 20]], "point_labels": [1], "box": [5, 5, 50, 50]},
        {"point_coords": [[10, 20]], "point_labels": [1], "mask_input": np.zeros((1, 256, 256))},
    ],
)
def test_everything_else_is_not(given: dict) -> None:
    assert not make_prompt(**given, original_size=SIZE).is_ambiguous


@pytest.mark.parametrize("corner", [(0, 0), (640, 480), (639.5, 0)])
def test_points_on_the_edge_are_inside(corner: tuple[float, float]) -> None:
    assert make_prompt([corner], [1], original_size=SIZE).point_coords.tolist() == [list(corner)]


def test_a_box_over_the_edge_is_clipped_with_a_note() -> None:
    prompt = make_prompt(box=[-5, 10, 700, 400], original_size=SIZE)
    assert prompt.box is not None and prompt.box.tolist() == [0, 10, 640, 400]
    assert prompt.notes == ("box (-5, 10, 700, 400) was clipped to (0, 10, 640, 400)",)
    assert make_prompt(box=[0, 10, 640, 400], original_size=SIZE).notes == ()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "no prompt was given: give at least one point, a box or a mask input"),
        ({"point_labels": [1]}, "labels were given without points"),
        ({"point_coords": [[1, 2]]}, "without labels: give 1 (foreground) or 0 (background)"),
        (
            {"point_coords": [[1, 2]], "point_labels": [1, 0]},
            "1 point(s) but 2 label(s): give one label for each point",
        ),
        ({"point_coords": [[1, 2]], "point_labels": [2]}, "label 2 is not known"),
        (
            {"point_coords": [[641, 2]], "point_labels": [1]},
            "point (641, 2) is outside the image: x must be in 0..640, y in 0..480",
        ),
        ({"point_coords": [[-1, 2]], "point_labels": [1]}, "outside the image"),
        ({"point_coords": [[np.nan, 2]], "point_labels": [1]}, "not finite"),
        ({"point_coords": [1, 2, 3], "point_labels": [1]}, "shape [N, 2]"),
        ({"point_coords": "here", "point_labels": [1]}, "must be real numbers"),
        ({"box": [30, 20, 10, 40]}, "is inverted or empty: x1 < x2 and y1 < y2"),
        ({"box": [10, 20, 10, 40]}, "is inverted or empty"),
        ({"box": [10, 20, 30]}, "shape [4]"),
        ({"box": [[0, 0, 9, 9], [0, 0, 9, 9]]}, "four numbers"),
        ({"box": [700, 10, 800, 20]}, "lies outside the image"),
        ({"box": [0, 0, np.inf, 20]}, "not finite"),
        ({"mask_input": np.zeros((480, 640))}, "must be low-res logits [1, 256, 256]"),
    ],
)
def test_what_cannot_be_a_prompt(given: dict, sentence: str) -> None:
    with pytest.raises(PromptError) as caught:
        make_prompt(**given, original_size=SIZE)
    message = str(caught.value)
    assert sentence in message and "\n" not in message
    assert isinstance(caught.value, ValueError)
