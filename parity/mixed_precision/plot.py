"""The plot of a sensitivity table: bytes saved against masks lost, a mark a group and precision."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from parity.mixed_precision.sensitivity import GroupCost
from parity.report.labels import Box, Label, Spot, place

WIDTH, HEIGHT = 900, 560
PLOT = Box(left=84.0, top=34.0, right=WIDTH - 16.0, bottom=HEIGHT - 52.0)
LEAST_LOSS, LEAST_BYTES = 1e-5, 1e3
"""What is less is drawn there: both axes are logarithmic."""

NAMED = 12
"""Marks that have their name beside them, those that cost the most; the others tell it on hover."""

LOOKS = (
    ("#0072b2", "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0z"),
    ("#d55e00", "M0,-5.5L5.5,4.5H-5.5z"),
    ("#009e73", "M-4.5,-4.5h9v9h-9z"),
    ("#cc79a7", "M0,-6L6,0L0,6L-6,0z"),
)
"""Colours that colour-blind people tell apart, and shapes for who sees none."""


class Key(NamedTuple):
    """How marks of a precision look."""

    name: str
    colour: str
    shape: str


class Mark(NamedTuple):
    """A group in a precision, in pixels."""

    key: Key
    x: float
    y: float
    name: str
    title: str
    label: Label | None


def sensitivity_plot(costs: Sequence[GroupCost]) -> str:
    """An SVG of every cost."""
    ranked = sorted(costs, key=lambda cost: -cost.loss)
    precisions = dict.fromkeys(cost.precision for cost in costs)
    keys = {
        name: Key(name, *LOOKS[turn % len(LOOKS)]) for turn, name in enumerate(sorted(precisions))
    }
    losses = _decades([max(cost.loss, LEAST_LOSS) for cost in costs])
    sizes = _decades([max(cost.saved_bytes, LEAST_BYTES) for cost in costs])
    spots = [
        Spot(
            _between(max(cost.saved_bytes, LEAST_BYTES), sizes, PLOT.left, PLOT.right),
            _between(max(cost.loss, LEAST_LOSS), losses, PLOT.bottom, PLOT.top),
        )
        for cost in ranked
    ]
    named = [cost.group for cost in ranked[:NAMED]]
    labels = [*place(spots[:NAMED], named, PLOT), *[None] * (len(ranked) - len(named))]
    marks = [
        Mark(
            keys[cost.precision],
            round(spot.x, 1),
            round(spot.y, 1),
            cost.group,
            f"{cost.component} {cost.group} in {cost.precision}: {cost.loss:.4f} lost, "
            f"{cost.saved_bytes / 1e6:.2f} MB saved",
            label,
        )
        for cost, spot, label in zip(ranked, spots, labels, strict=True)
    ]
    environment = Environment(
        loader=PackageLoader("parity.mixed_precision", "."),
        autoescape=True,
        undefined=StrictUndefined,
    )
    return environment.get_template("sensitivity.svg.jinja").render(
        width=WIDTH,
        height=HEIGHT,
        box=PLOT,
        keys=list(keys.values()),
        marks=marks,
        x_ticks=[
            (_between(10.0**d, sizes, PLOT.left, PLOT.right), f"{10.0**d / 1e6:g}")
            for d in range(sizes[0], sizes[1] + 1)
        ],
        y_ticks=[
            (_between(10.0**d, losses, PLOT.bottom, PLOT.top), f"{10.0**d:g}")
            for d in range(losses[0], losses[1] + 1)
        ],
    )


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def _between(value: float, decades: tuple[int, int], start: float, end: float) -> float:
    share = (math.log10(value) - decades[0]) / (decades[1] - decades[0])
    return start + share * (end - start)
