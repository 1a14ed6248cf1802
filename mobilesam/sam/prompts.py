"""Points, labels and boxes as Ultralytics' users nest them, told apart into one prompt an object.

How deep the lists are nested says what is meant:

======================  ===========================  =================  ==========================
what                    points                       labels             bboxes
======================  ===========================  =================  ==========================
one object, one point   ``[x, y]``                   ``[1]`` or ``1``   ``[x1, y1, x2, y2]``
several, a point each   ``[[x, y], [x, y]]``         ``[1, 1]``         ``[[x1, y1, x2, y2], …]``
several points each     ``[[[x, y], [x, y]], …]``    ``[[1, 0], …]``    ``[[x1, y1, x2, y2], …]``
======================  ===========================  =================  ==========================
"""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mobilesam.errors import PromptError
from mobilesam.inference.prompts import Prompt, make_prompt

_LOG = logging.getLogger(__name__)
_POINT = "[x, y]"
_BOX = "[x1, y1, x2, y2]"


class Asked(NamedTuple):
    """One object as the user points at it, its numbers not yet held against an image.

    Attributes:
        points: of x and y.
        labels: one for each point.
        box: x1, y1, x2, y2, or None.
    """

    points: Sequence[Sequence[float]]
    labels: Sequence[float]
    box: Sequence[float] | None = None


def asked_objects(points: Any, labels: Any, bboxes: Any) -> list[Asked] | None:
    """What is asked about each object.

    Args:
        points, labels, bboxes: numbers in nested lists or tuples, NumPy arrays or tensors, or
            None. Without labels, every point is foreground. Objects may have different numbers of
            points. Where there are boxes too, object i has box i.

    Returns:
        One each, in the order given; none at all where a list is empty, as of a detector that
        found nothing. None where nothing was given: everything is then asked about.

    Raises:
        PromptError: they are nested otherwise, or do not belong together.
    """
    if points is None and labels is not None:
        raise PromptError("labels were given without points: give one point for each label")
    pointed = None if points is None else _pointed(_plain(points, "points"), labels)
    boxes = None if bboxes is None else _boxes(_plain(bboxes, "bboxes"))
    if pointed is None or boxes is None:
        return pointed if boxes is None else [Asked([], [], box) for box in boxes]
    if len(pointed) != len(boxes):
        hint = (
            "; points of one object are nested once more, as in [[[x, y], [x, y]]]"
            if len(boxes) == 1
            else ""
        )
        raise PromptError(
            f"points of {len(pointed)} object(s) but {len(boxes)} box(es) were given: where there "
            f"are both, give one box for each object{hint}"
        )
    return [each._replace(box=box) for each, box in zip(pointed, boxes, strict=True)]


def prompts_on(pixels: np.ndarray, asked: Sequence[Asked], where: str = "") -> list[Prompt]:
    """The prompts about an image, one for each object; boxes that were clipped are logged.

    Args:
        pixels: HxWx3.
        asked: about the objects.
        where: what precedes an error or a note.

    Raises:
        PromptError: one cannot be a prompt of this image; it says of which object.
    """
    prompts = []
    height, width = pixels.shape[:2]
    for number, (points, labels, box) in enumerate(asked):
        whose = where + (f"object {number}: " if len(asked) > 1 else "")
        try:
            prompt = make_prompt(
                points or None,
                labels if points else None,
                box,
                original_size=(height, width),
            )
        except PromptError as error:
            raise PromptError(f"{whose}{error}") from None
        for note in prompt.notes:
            _LOG.warning("%s%s", whose, note)
        prompts.append(prompt)
    return prompts


def _pointed(points: Any, labels: Any) -> list[Asked]:
    """Objects by their points, and the labels that are nested in the same way."""
    depth = _depth(points, "points", _POINT)
    given = None if labels is None else _plain(labels, "labels")
    if depth == 1:
        alone = given[0] if isinstance(given, list) and len(given) == 1 else given
        if isinstance(alone, list):
            raise PromptError(f"one point {_POINT} has one label, as in [1], not {given}")
        return [Asked([points], [1.0 if alone is None else alone])]
    if given is None:
        given = [1.0] * len(points) if depth == 2 else [[1.0] * len(each) for each in points]
    nested = [isinstance(each, list) for each in given] if isinstance(given, list) else []
    if depth == 2:
        if any(nested) or not isinstance(given, list):
            raise PromptError(
                f"points {_POINT} are an object each and have one label each, as in [1, 1], not "
                f"{given}; points of one object are nested once more, as in [[[x, y], [x, y]]]"
            )
        _require_as_many(given, points, "")
        return [Asked([point], [label]) for point, label in zip(points, given, strict=True)]
    if not all(nested) or not isinstance(given, list) or len(given) != len(points):
        raise PromptError(
            "labels must be nested as the points are, one list for each object, as in [[1, 0]], "
            f"not {given}"
        )
    for number, (own, theirs) in enumerate(zip(points, given, strict=True)):
        if not own:
            raise PromptError(f"object {number} has no points: give each object at least one")
        _require_as_many(theirs, own, f"object {number} has ")
    return [Asked(own, theirs) for own, theirs in zip(points, given, strict=True)]


def _require_as_many(labels: list[Any], points: list[Any], whose: str) -> None:
    if any(isinstance(label, list) for label in labels):
        raise PromptError(f"labels are nested too deep: a label is a number, not {labels}")
    if len(labels) != len(points):
        raise PromptError(
            f"{whose}{len(points)} point(s) but {len(labels)} label(s): give one label for each "
            "point"
        )


def _boxes(boxes: Any) -> list[list[float]]:
    depth = _depth(boxes, "bboxes", _BOX)
    if depth > 2:
        raise PromptError(f"bboxes must be one box {_BOX}, or a list of them")
    return [boxes] if depth == 1 else boxes


def _plain(value: Any, name: str) -> Any:
    """Nested lists of numbers out of lists, tuples, arrays and tensors, or one number."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(each, name) for each in value]
    if isinstance(value, int | float):
        return value
    raise PromptError(f"{name} must be numbers in lists, not {value!r}")


def _depth(value: Any, name: str, form: str) -> int:
    """How deep lists are nested around the numbers of points or boxes.

    Args:
        value: nested lists of numbers.
        name: of the argument, for errors.
        form: of one point or box, for errors.

    Returns:
        1 for one point or box, 2 for a list of them, 3 for a list of lists; 2 for an empty list.
    """
    wanted = form.count(",") + 1
    depths = set(_depths(value))
    if len(depths) > 1 or not depths <= {1, 2, 3}:
        raise PromptError(f"{name} must be {form}, or lists of {form}, all nested equally deep")
    depth = depths.pop()
    ends = [value] if depth == 1 else value if depth == 2 else [p for each in value for p in each]
    for end in ends:
        if len(end) != wanted:
            raise PromptError(f"{name} must be {form}, or lists of {form}, not {end}")
    return depth


def _depths(value: Any, above: int = 0) -> list[int]:
    """Of every number; an empty list counts as one point or box that is not there."""
    if not isinstance(value, list):
        return [above]
    if not value:
        return [above + 2]
    return [depth for each in value for depth in _depths(each, above + 1)]
