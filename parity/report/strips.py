"""The strip chart: how far each mask is from the reference's, a row for each bundle and runtime."""

import math
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from parity.report import figures
from parity.report.summary import Line
from parity.report.svg import colour, draw, logarithmic, plain_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, ROW, TOP, BOTTOM, LEFT = 980, 30, 12, 48, 262

NEAREST = 1e-5
"""Distances from IoU 1 below this one share the linear part of the axis with equal masks."""

FARTHEST = 1.0


class Strip(NamedTuple):
    """One bundle on one runtime.

    Attributes:
        distances: 1 - IoU of each of its end-to-end masks, 0 to 1.
        limit: the largest distance that its threshold allows; None without such a check.
    """

    line: Line
    distances: list[float]
    limit: float | None


def strips(lines: list[Line]) -> list[Strip]:
    """Collect every end-to-end mask that has an IoU; bundles without such a mask are left out."""
    found = []
    for line in lines:
        distances = [
            max(1 - mask.mask_iou, 0.0)
            for case in line.bundle.cases
            if case.stage == "end_to_end"
            for mask in case.masks
            if mask.mask_iou is not None and math.isfinite(mask.mask_iou)
        ]
        if distances:
            found.append(Strip(line, distances, _limit(line)))
    return found


def strip_chart(found: list[Strip]) -> str:
    """Draw the strips as SVG, one row each; an empty string if there are none.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    if not found:
        return ""

    def paint(figure: "Figure") -> None:
        axes = plain_axes(figure, LEFT, TOP, 22, BOTTOM)
        axes.grid(axis="y", visible=False)
        every = [distance for strip in found for distance in strip.distances]
        logarithmic(axes, "x", [*every, 0.0, NEAREST, FARTHEST], _kept, least=NEAREST, zero="equal")
        axes.set_xlim(right=FARTHEST * 1.06)
        axes.set_ylim(len(found) - 0.5, -0.5)
        axes.set_xlabel("mask IoU, logarithmic in 1 − IoU: farther right is farther from PyTorch")
        axes.set_yticks(range(len(found)), labels=[_name(strip.line) for strip in found])
        for row, (strip, label) in enumerate(zip(found, axes.get_yticklabels(), strict=True)):
            passed = strip.line.passed
            label.set_color(colour("text" if passed else "fail"))
            # Masks that are equally far are one dot, larger if they are many.
            dots = sorted(Counter(float(f"{far:.2g}") for far in strip.distances).items())
            drawn = axes.scatter(
                [far for far, _ in dots],
                [row] * len(dots),
                s=[44 if n == 1 else 70 if n < 10 else 105 for _, n in dots],
                color=colour("accent" if passed else "fail"),
                alpha=0.5,
                linewidths=0,
                clip_on=False,
            )
            drawn.set_urls([f"{n} mask{'s' * (n > 1)}" for _, n in dots])
            if strip.limit is not None:
                axes.plot(
                    [strip.limit, strip.limit], [row - 0.34, row + 0.34], color=colour("text"),
                    linewidth=2, solid_capstyle="butt",
                )  # fmt: skip

    height = TOP + ROW * len(found) + BOTTOM
    return draw(paint, WIDTH, height, "IoU of every mask, one row a bundle")


def _limit(line: Line) -> float | None:
    """Distance from IoU 1 that the threshold of the worst mask allows."""
    for check in line.bundle.checks:
        if check.stage == "end_to_end" and check.metric == "mask_iou_min":
            return 1 - check.threshold
    return None


def _name(line: Line) -> str:
    """Name of the bundle with ✓ or ✕, and the runtime unless the name has it."""
    own = line.bundle
    name = line.name if own.runtime in own.bundle else line.title
    return figures.printable(f"{'✓' if line.passed else '✕'} {name}")


def _kept(distance: float) -> str:
    """Write the IoU at a distance from 1."""
    return f"{1 - distance:.{max(0, -round(math.log10(distance)))}f}"
