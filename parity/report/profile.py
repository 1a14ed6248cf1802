"""Charts of a value for each op of a network, from its first op to its last."""

import math
import re
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from parity.report import figures
from parity.report.svg import SERIES, colour, draw, logarithmic, plain_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 980, 280
LEFT, TOP, RIGHT, BOTTOM = 70, 26, 12, 46
LEAST, BEYOND = 1e-30, 10.0
"""Errors that are not finite are drawn at BEYOND; those below LEAST are zero."""

_PART = re.compile(r"^[a-z]+_(?:encoder|decoder)_((?:transformer_)?layers_\d+|[a-z]+(?:_[a-z]+)*)")


class Chart(NamedTuple):
    """A chart as SVG, and the title above it."""

    title: str
    svg: str


class Series(NamedTuple):
    """A name and a value for each op; None where an op has no value."""

    label: str
    values: Sequence[float | None]


class Ops(NamedTuple):
    """The ops of a file in the order in which they run.

    Attributes:
        file: which file it is, in words.
        modules: path of the module of each, or the op's name where that begins with the module.
        names: of the ops.
        fault: index of the op at fault.
    """

    file: str
    modules: Sequence[str]
    names: Sequence[str]
    fault: int | None = None


def part_of(layer: str) -> str:
    """Name the part of the network that a module, or a value it computes, belongs to.

    ``image_encoder.layers.1.blocks.0`` and ``image_encoder_layers_1_blocks_0__add_3`` are both in
    ``layers_1``; what is in no part has an empty name.
    """
    found = _PART.match(layer.partition("__")[0].replace(".", "_"))
    return found[1] if found else ""


def error_profile(title: str, ops: Ops, series: Sequence[Series]) -> Chart:
    """Draw errors on a logarithmic axis that has a place for zero."""
    drawn = [Series(each.label, [_error(value) for value in each.values]) for each in series]
    values = [value for each in drawn for value in each.values if value is not None]

    def paint(figure: "Figure") -> None:
        axes = _axes(figure, ops)
        axes.set_ylabel("relative L2")
        _draw(axes, ops, drawn)
        logarithmic(axes, "y", values, _decade, least=LEAST, zero="0")

    return Chart(title, draw(paint, WIDTH, HEIGHT, f"{title} ({ops.file})"))


HEADROOM_TITLE = "float16 headroom: bits between the largest value and 65,504."


def headroom_profile(
    ops: Ops, bits: Sequence[float | None], overflowed: Sequence[int] = ()
) -> Chart:
    """Draw bits of float16 headroom over the line of overflow; see :func:`error_profile`.

    Args:
        ops: of the file.
        bits: of each op; None where it has none.
        overflowed: places of the ops that gave infinity or not-a-number, drawn below the line.
    """
    below = set(overflowed)
    found = [value for place, value in enumerate(bits) if value is not None and place not in below]

    def paint(figure: "Figure") -> None:
        from matplotlib.ticker import MultipleLocator

        axes = _axes(figure, ops)
        low, high = min([0.0, *found]), max([4.0, *found])
        axes.set_ylim(low - 1, high + 1)
        axes.yaxis.set_major_locator(MultipleLocator(4))
        axes.set_ylabel("bits")
        axes.axhline(0, color=colour("fail"))
        axes.annotate(
            "overflow", (1, 0), (-4, 4), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="right", color=colour("fail"),
        )  # fmt: skip
        shown = [None if place in below else value for place, value in enumerate(bits)]
        _draw(axes, ops, [Series("headroom", shown)])
        if below:
            places = sorted(below)
            marks = axes.scatter(
                places, [low - 0.5] * len(places), s=26, marker="x", color=colour("fail"),
                linewidths=1.6, clip_on=False, zorder=4,
            )  # fmt: skip
            marks.set_urls(
                [figures.printable(f"{place}: {ops.names[place]} overflows") for place in places]
            )

    return Chart(HEADROOM_TITLE, draw(paint, WIDTH, HEIGHT, f"{HEADROOM_TITLE} ({ops.file})"))


def _error(value: float | None) -> float | None:
    if value is None:
        return None
    return max(value, 0.0) if math.isfinite(value) else BEYOND


def _decade(value: float) -> str:
    return f"1e{round(math.log10(value))}"


def _axes(figure: "Figure", ops: Ops) -> "Axes":
    """Axes along the ops; the network's parts are marked, and named where the name fits."""
    axes = plain_axes(figure, LEFT, TOP, RIGHT, BOTTOM)
    count = len(ops.modules)
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_xticks([])
    axes.set_xlabel("ops in the program's order", labelpad=20)
    below = axes.get_xaxis_transform()
    start = 0
    for name, run in groupby(ops.modules, part_of):
        end = start + len(list(run))
        if end < count:
            axes.axvline(end - 0.5, color=colour("line"), linewidth=1, zorder=0.5)
        middle = (start + end - 1) / 2
        text = axes.text(middle, -0.03, name, transform=below, ha="center", va="top")
        text.set_color(colour("soft"))
        room = (end - start) / count * (WIDTH - LEFT - RIGHT)
        if text.get_window_extent().width > room:
            text.remove()
        start = end
    if ops.fault is not None:
        axes.axvline(ops.fault, color=colour("fail"), linewidth=2)
        axes.annotate(
            "fault", (ops.fault, 1), (0, 4), xycoords=below, textcoords="offset points",
            ha="center", color=colour("fail"), fontweight="bold",
        )  # fmt: skip
    return axes


def _draw(axes: "Axes", ops: Ops, series: Sequence[Series]) -> None:
    """Draw the dots of every series, and a legend if there are several."""
    for (name, shape), each in zip(SERIES[1::2], series, strict=False):
        at = [index for index, value in enumerate(each.values) if value is not None]
        dots = axes.scatter(
            at,
            [value for value in each.values if value is not None],
            s=14,
            marker=shape,
            color=colour(name),
            alpha=0.75,
            linewidths=0,
            label=each.label,
            clip_on=False,
            zorder=3,
        )
        dots.set_urls([figures.printable(f"{index}: {ops.names[index]}") for index in at])
    if len(series) > 1:
        axes.legend(
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            ncols=len(series),
            borderpad=0,
            markerscale=2,
        )
