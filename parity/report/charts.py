"""How far every mask is from the reference's, one strip of dots a bundle, laid out for SVG."""

import math
from typing import NamedTuple

from parity.report.summary import Line

WIDTH, LABELS, RIGHT = 960, 250, 24
ROW, TOP, BOTTOM = 30, 30, 26
DECADES = (-5, -4, -3, -2, -1, 0)
EQUAL_GAP = 72
"""Pixels between the column of masks that are equal and the smallest decade."""


class Strip(NamedTuple):
    """One bundle: dots and the limit in pixels of x, the line's centre in pixels of y."""

    name: str
    runtime: str
    passed: bool
    y: float
    dots: list[tuple[float, int]]
    """x, and how many masks lie there."""
    limit: float | None


class Chart(NamedTuple):
    """Everything that the template draws."""

    width: int
    height: int
    equal: float
    ticks: list[tuple[float, str]]
    strips: list[Strip]


def disagreement(lines: list[Line]) -> Chart | None:
    """1 − IoU of every end-to-end mask on a logarithmic axis; None without masks."""
    strips: list[Strip] = []
    for line in lines:
        values = [
            mask.mask_iou
            for case in line.bundle.cases
            if case.stage == "end_to_end"
            for mask in case.masks
            if mask.mask_iou is not None and math.isfinite(mask.mask_iou)
        ]
        if not values:
            continue
        found: dict[float, int] = {}
        for value in values:
            # Dots nearer than a pixel are one.
            x = float(round(_x(1 - value)))
            found[x] = found.get(x, 0) + 1
        limit = next(
            (
                check.threshold
                for check in line.bundle.checks
                if check.stage == "end_to_end" and check.metric == "mask_iou_min"
            ),
            None,
        )
        strips.append(
            Strip(
                name=line.bundle.bundle,
                runtime=line.bundle.runtime,
                passed=line.passed,
                y=TOP + ROW * (len(strips) + 0.5),
                dots=sorted(found.items()),
                limit=None if limit is None else _x(1 - limit),
            )
        )
    if not strips:
        return None
    return Chart(
        width=WIDTH,
        height=TOP + ROW * len(strips) + BOTTOM,
        equal=_x(0),
        ticks=[(_x(10.0**decade), _label(decade)) for decade in DECADES],
        strips=strips,
    )


def _x(distance: float) -> float:
    """1 − IoU to pixels; equal masks have a column of their own at the left."""
    if distance <= 0:
        return LABELS + 10
    first, last = DECADES[0], DECADES[-1]
    place = (min(max(math.log10(distance), first), last) - first) / (last - first)
    left = LABELS + 10 + EQUAL_GAP
    return left + place * (WIDTH - RIGHT - left)


def _label(decade: int) -> str:
    # What is nearer than the first decade is drawn on it.
    sign = "≥ " if decade == DECADES[0] else ""
    return f"{sign}{1 - 10.0**decade:.{-decade}f}" if decade else "0"
