"""Curves along a network, one place an op, laid out for SVG."""

import math
import re
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

WIDTH, HEIGHT = 960, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 18, 40
NARROW = 6
"""A stage's name is drawn where there are so many pixels for each of its letters."""

_STAGE = re.compile(r"^[a-z]+_(?:encoder|decoder)_((?:transformer_)?layers_\d+|[a-z]+(?:_[a-z]+)*)")


class Curve(NamedTuple):
    """Dots in pixels, each with a text; ``kind`` is the style's class."""

    label: str
    kind: str
    dots: list[tuple[float, float, str]]


class Stage(NamedTuple):
    """A part of the network: from x to x, in pixels. Its name is empty where there is no room."""

    start: float
    end: float
    name: str


class Profile(NamedTuple):
    """Everything that the template draws.

    Attributes:
        ticks: y and text. rules: y and text of lines to be seen. mark: x of the fault.
    """

    title: str
    width: int
    height: int
    bottom: int
    left: int
    ticks: list[tuple[float, str]]
    rules: list[tuple[float, str]]
    stages: list[Stage]
    curves: list[Curve]
    mark: float | None


class Series(NamedTuple):
    """A value for each op, or None where it has none."""

    label: str
    kind: str
    values: Sequence[float | None]


def stage_of(layer: str) -> str:
    """The part of the network that a module's path, or the name of a value of its, belongs to.

    ``image_encoder.layers.1.blocks.0`` and ``image_encoder_layers_1_blocks_0__add_3`` are both in
    ``layers_1``; what lies in no part is in the empty one.
    """
    found = _STAGE.match(layer.partition("__")[0].replace(".", "_"))
    return found[1] if found else ""


def log_profile(
    title: str,
    layers: Sequence[str],
    names: Sequence[str],
    series: Sequence[Series],
    mark: int | None = None,
) -> Profile:
    """Errors on a logarithmic axis; zeros lie on its foot.

    Args:
        layers: module of each op, in order, or its name where that begins with the module.
        names: of the ops.
        mark: which op is the fault.
    """
    logs = [
        Series(s.label, s.kind, [None if v is None else _log(v) for v in s.values]) for s in series
    ]
    found = [v for s in logs for v in s.values if v is not None and v > _FOOT]
    low = math.floor(min(found, default=-8)) - 1
    high = max(math.ceil(max(found, default=0)), low + 2)
    ticks = [(float(d), f"1e{d}" if d > low else "0") for d in range(low, high + 1)]
    return _profile(title, layers, names, logs, ticks, [], mark)


HEADROOM_TITLE = "float16 headroom: bits between the largest value and 65,504."
OVERFLOW = (0.0, "overflow")


def headroom_profile(
    layers: Sequence[str],
    names: Sequence[str],
    bits: Sequence[float | None],
    mark: int | None = None,
) -> Profile:
    """Bits of headroom, above the line of overflow; see :func:`log_profile`."""
    found = [value for value in bits if value is not None]
    low = math.floor(min([OVERFLOW[0], *found]) / 4) * 4
    high = max(math.ceil(max(found, default=4) / 4) * 4, low + 4)
    ticks = [(float(tick), str(tick)) for tick in range(low, high + 1, 4)]
    series = [Series("headroom", "first", bits)]
    return _profile(HEADROOM_TITLE, layers, names, series, ticks, [OVERFLOW], mark)


_FOOT = -30.0


def _log(value: float) -> float:
    """Decades; not-a-number and infinity are beyond every error."""
    if not math.isfinite(value):
        return 1.0
    return max(math.log10(value), _FOOT) if value > 0 else _FOOT


def _profile(
    title: str,
    layers: Sequence[str],
    names: Sequence[str],
    series: Sequence[Series],
    ticks: list[tuple[float, str]],
    rules: list[tuple[float, str]],
    mark: int | None,
) -> Profile:
    low, high = ticks[0][0], ticks[-1][0]

    def x(index: float) -> float:
        return round(LEFT + (index + 0.5) / len(layers) * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        place = (min(max(value, low), high) - low) / (high - low)
        return round(HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM), 1)

    curves = [
        Curve(
            s.label,
            s.kind,
            [(x(i), y(v), f"{i}: {names[i]}") for i, v in enumerate(s.values) if v is not None],
        )
        for s in series
    ]
    return Profile(
        title=title,
        width=WIDTH,
        height=HEIGHT,
        bottom=HEIGHT - BOTTOM,
        left=LEFT,
        ticks=[(y(value), text) for value, text in ticks],
        rules=[(y(value), text) for value, text in rules],
        stages=_stages(layers, x),
        curves=curves,
        mark=None if mark is None else x(mark),
    )


def _stages(layers: Sequence[str], x: Callable[[float], float]) -> list[Stage]:
    found = []
    start = 0
    for name, run in groupby(layers, stage_of):
        end = start + len(list(run))
        left, right = x(start - 0.5), x(end - 0.5)
        room = right - left >= NARROW * len(name)
        found.append(Stage(left, right, name if room else ""))
        start = end
    return found
