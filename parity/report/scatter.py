"""What each bundle costs against the masks it keeps, one point a bundle and runtime, for SVG."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from converters.schemes import TARGETS
from parity.report import figures
from parity.report.labels import MARKER, Box, Label, Spot, place
from parity.report.summary import Line
from parity.report.tradeoff import encoder_measurement
from parity.schema import Tradeoff

WIDTH, HEIGHT = 620, 430
LEFT, RIGHT, TOP, BOTTOM = 68, 12, 14, 44
EQUAL_GAP = 34
"""Pixels between the row of bundles whose masks are all equal and the smallest drop."""

NEAREST = -4
"""Decade of the smallest drop that is told from those below it."""

SHAPES = (
    "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0z",
    "M-4.5,-4.5h9v9h-9z",
    "M0,-6L6,0L0,6L-6,0z",
    "M0,-5.5L5.5,4.5H-5.5z",
    "M0,5.5L5.5,-4.5H-5.5z",
)
"""Outlines around the origin; one a target, as its colour is, so that it is told without colour."""


class Key(NamedTuple):
    """How a target's points look."""

    target: str
    kind: str
    shape: str


class Point(NamedTuple):
    """A marker and its name, in pixels; the label is None where there is no room for the name."""

    key: Key
    x: float
    y: float
    name: str
    label: Label | None
    title: str
    slower: bool
    front: bool
    passed: bool


class Scatter(NamedTuple):
    """Everything that the template draws.

    Attributes:
        x_ticks, y_ticks: place in pixels, and text.
        fronts: corners of the line through the bundles that no other beats, for each model.
        unbeaten: their names.
        unnamed: names that there is no room for.
        left_out: why, and the names of those that are not drawn.
    """

    title: str
    axis: str
    width: int
    height: int
    plot: Box
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    points: list[Point]
    fronts: list[list[Spot]]
    unbeaten: list[str]
    unnamed: list[str]
    left_out: list[tuple[str, list[str]]]


def keys(lines: Sequence[Line]) -> list[Key]:
    """The targets of a report, in the order of the table of targets."""
    return [_key(target) for target in sorted({each.bundle.target for each in lines}, key=_rank)]


def scatters(lines: Sequence[Line]) -> list[Scatter]:
    """Size against mask IoU, then latency; none for fewer than two bundles."""
    if len(lines) < 2:
        return []
    threads = sorted(
        {m.threads for each in lines if (m := encoder_measurement(each.bundle)) is not None}
    )
    on = f", {' or '.join(map(str, threads))} thread{'s' * (threads != [1])}" if threads else ""
    return [
        _scatter(
            "Size against mask IoU",
            "encoder + decoder, MB, logarithmic",
            lines,
            lambda found: found.size_mb,
            lambda found: found.on_size_front,
        ),
        _scatter(
            "Latency against mask IoU",
            f"encoder, median ms{on}, logarithmic",
            lines,
            lambda found: None if found.encoder_s is None else found.encoder_s * 1000,
            lambda found: found.on_latency_front,
            how_much_slower=True,
        ),
    ]


def _scatter(
    title: str,
    axis: str,
    lines: Sequence[Line],
    cost: Callable[[Tradeoff], float | None],
    on_front: Callable[[Tradeoff], bool],
    *,
    how_much_slower: bool = False,
) -> Scatter:
    drawn: list[tuple[Line, float, float]] = []
    left_out: dict[str, list[str]] = {}
    names = {id(each): _name(each, lines) for each in lines}
    for each in lines:
        own, drop = cost(each.tradeoff), each.tradeoff.drop
        if own is None or own <= 0 or drop is None:
            left_out.setdefault(_why_not(each), []).append(names[id(each)])
        else:
            drawn.append((each, own, drop))
    plot = Box(LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM)
    across, x_ticks = _across([own for _, own, _ in drawn], plot)
    down, y_ticks = _down([drop for _, _, drop in drawn], plot)
    drawn.sort(key=lambda each: (each[1], each[2]))
    spots = [Spot(across(own), down(drop)) for _, own, drop in drawn]
    kept = [on_front(each.tradeoff) for each, _, _ in drawn]
    models = [(each.bundle.weights, each.bundle.image_size) for each, _, _ in drawn]
    fronts = [
        [spot for spot, front, own in zip(spots, kept, models, strict=True) if front and own == one]
        for one in dict.fromkeys(models)
    ]
    shown = [names[id(each)] + (_mark(each) if how_much_slower else "") for each, _, _ in drawn]
    room = Box(plot.left + 4, plot.top, plot.right, plot.bottom - MARKER)
    line = [spot for corners in fronts for spot in corners] if len(fronts) == 1 else []
    labels = place(spots, shown, room, line, kept)
    points = [
        Point(
            key=_key(each.bundle.target),
            x=spot.x,
            y=spot.y,
            name=name,
            label=label,
            title=_title(names[id(each)], each),
            slower=each.tradeoff.slower is not None,
            front=front,
            passed=each.passed,
        )
        for (each, _, _), spot, name, label, front in zip(
            drawn, spots, shown, labels, kept, strict=True
        )
    ]
    return Scatter(
        title=title,
        axis=axis,
        width=WIDTH,
        height=HEIGHT,
        plot=plot,
        x_ticks=x_ticks,
        y_ticks=y_ticks,
        points=points,
        fronts=fronts,
        unbeaten=[
            names[id(each)] + _mark(each)
            for (each, _, _), front in zip(drawn, kept, strict=True)
            if front
        ],
        unnamed=[point.name for point in points if point.label is None],
        left_out=list(left_out.items()),
    )


def _name(line: Line, lines: Sequence[Line]) -> str:
    """The bundle, with its runtime and image size where they tell it apart; ✕ if it fails."""
    own = line.bundle
    parts = [own.bundle]
    if sum(other.bundle.path == own.path for other in lines) > 1:
        parts.append(own.runtime)
    if len({other.bundle.image_size for other in lines}) > 1 and own.image_size:
        parts.append(str(own.image_size))
    return f"{'' if line.passed else '✕ '}{' '.join(parts)}"


def _mark(line: Line) -> str:
    return f" {figures.slower(line.tradeoff.slower)}".rstrip()


def _title(name: str, line: Line) -> str:
    found = line.tradeoff
    parts = [f"{name}: mask IoU {figures.share(found.mask_iou)}"]
    if found.size_mb is not None:
        parts.append(f"{figures.megabytes(found.size_mb)} MB")
    if found.encoder_s is not None:
        parts.append(f"encoder {figures.milliseconds(found.encoder_s)} ms{_mark(line)}")
    if line.encoder.partitions is not None:
        parts.append(f"{line.encoder.partitions} delegate partitions")
    return ", ".join(parts)


def _why_not(line: Line) -> str:
    if line.tradeoff.drop is None:
        return "no mask was judged"
    taken = encoder_measurement(line.bundle)
    if taken is None:
        return "not measured"
    return "this machine emulates the runtime, so its time would say nothing of a device"


def _rank(target: str) -> tuple[int, str]:
    known = list(TARGETS)
    return known.index(target) if target in known else len(known), target


def _key(target: str) -> Key:
    place = _rank(target)[0] % len(SHAPES)
    return Key(target, f"target{place}", SHAPES[place])


def _across(
    costs: Sequence[float], plot: Box
) -> tuple[Callable[[float], float], list[tuple[float, str]]]:
    """Logarithmic, from a little below the least to what leaves the last name some room."""
    low, high = math.log10(min(costs, default=1)), math.log10(max(costs, default=10))
    spare = max(0.3 - (high - low), 0) / 2 + 0.08 * (high - low) + 0.02
    low, high = low - spare, high + spare

    def x(cost: float) -> float:
        return round(plot.left + (math.log10(cost) - low) / (high - low) * _width(plot), 1)

    found: list[float] = []
    for steps in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)):
        found = _between(low, high, steps)
        if len(found) >= 4:
            break
    return x, [(x(value), f"{value:g}") for value in found]


def _down(
    drops: Sequence[float], plot: Box
) -> tuple[Callable[[float], float], list[tuple[float, str]]]:
    """1 - IoU, logarithmic and downwards; bundles that drop nothing have a row of their own."""
    known = [math.log10(drop) for drop in drops if drop > 0]
    low = max(math.floor(min(known, default=-2)), NEAREST)
    high = max(max(known, default=-1) + 0.12, low + 1)
    equal = any(drop <= 0 for drop in drops)
    top = plot.top + 2 * MARKER + (EQUAL_GAP if equal else 0)

    def y(drop: float) -> float:
        if drop <= 0:
            return plot.top + MARKER
        share = (min(max(math.log10(drop), low), high) - low) / (high - low)
        return round(top + share * (plot.bottom - top), 1)

    per_decade = (plot.bottom - top) / (high - low)
    steps = (1.0, 2.0, 5.0) if per_decade > 60 else (1.0,)
    ticks = [(y(drop), _kept(drop)) for drop in _between(low, high, steps)]
    ticks[0] = (ticks[0][0], f"≥ {ticks[0][1]}" if min(known, default=low) < low else ticks[0][1])
    return y, [(y(0), "equal"), *ticks] if equal else ticks


def _between(low: float, high: float, steps: Sequence[float]) -> list[float]:
    """Round values from 10^low to 10^high."""
    decades = range(math.floor(low), math.ceil(high) + 1)
    values = [float(f"{step}e{decade}") for decade in decades for step in steps]
    return [value for value in values if low - 1e-9 <= math.log10(value) <= high + 1e-9]


def _kept(drop: float) -> str:
    """What is left of 1."""
    return f"{1 - drop:.{max(0, -math.floor(math.log10(drop) + 1e-9))}f}"


def _width(plot: Box) -> float:
    return plot.right - plot.left
