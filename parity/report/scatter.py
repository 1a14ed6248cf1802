"""Trade-off plots: size or latency against mask IoU, one point for each bundle and runtime."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from converters.schemes import TARGETS
from parity.report import figures
from parity.report.summary import Line
from parity.report.svg import SERIES, colour, draw, logarithmic, plain_axes, write_names
from parity.report.tradeoff import encoder_measurement
from parity.schema import Tradeoff

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 660, 500
MARKER = 52.0
"""Area of a marker, in the chart's units squared."""

NEAREST = 1e-4
"""Drops in mask IoU below this one share the linear part of the axis with no drop at all."""


class Point(NamedTuple):
    """One bundle on one runtime.

    Attributes:
        name: that is written beside the marker.
        cost: megabytes or milliseconds.
        drop: 1 - the mean mask IoU.
        title: all figures, shown when the pointer rests on the marker.
    """

    line: Line
    name: str
    cost: float
    drop: float
    title: str
    front: bool

    @property
    def slower(self) -> bool:
        """Whether its encoder is slower than fp32's."""
        return self.line.tradeoff.slower is not None


class Scatter(NamedTuple):
    """A plot, and the facts that are written below it.

    Attributes:
        svg: the plot; empty where there is nothing to draw.
        points: what is drawn, from the smallest or fastest on.
        unbeaten: names of the bundles that no other beats.
        unnamed: names that there was no room for.
        left_out: why, and the names of those that are not drawn.
    """

    title: str
    svg: str
    points: list[Point]
    unbeaten: list[str]
    unnamed: list[str]
    left_out: list[tuple[str, list[str]]]


def scatters(lines: Sequence[Line]) -> list[Scatter]:
    """Draw size against mask IoU, and latency against it; nothing for fewer than two bundles.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    if len(lines) < 2:
        return []
    threads = sorted(
        {m.threads for each in lines if (m := encoder_measurement(each.bundle)) is not None}
    )
    on = f", {' or '.join(map(str, threads))} thread{'s' * (threads != [1])}" if threads else ""
    return [
        _scatter(
            "Size against mask IoU",
            "encoder + decoder, MB",
            lines,
            lambda found: found.size_mb,
            lambda found: found.on_size_front,
        ),
        _scatter(
            "Latency against mask IoU",
            f"encoder, median ms{on}",
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
    points: list[Point] = []
    left_out: dict[str, list[str]] = {}
    for each in lines:
        name, found = _name(each, lines), each.tradeoff
        own, drop = cost(found), found.drop
        if own is None or own <= 0 or drop is None:
            left_out.setdefault(_why_not(each), []).append(name)
            continue
        shown = name
        if how_much_slower and found.slower is not None:
            shown = f"{name}, {figures.speed(found.slower)}"
        points.append(Point(each, shown, own, drop, _title(name, each), on_front(found)))
    points.sort(key=lambda point: (point.cost, point.drop))
    unnamed: list[str] = []

    def paint(figure: "Figure") -> None:
        axes = plain_axes(figure, left=82, top=56, right=10, bottom=46)
        axes.set_xlabel(f"{axis} (logarithmic)")
        axes.set_ylabel("mean mask IoU, end to end (logarithmic in 1 − IoU)")
        _axes(axes, points)
        fronts = _draw_fronts(axes, points)
        _draw_markers(axes, points)
        count = len(axes.get_legend_handles_labels()[0])
        axes.legend(
            loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=count if count < 6 else 4,
            borderaxespad=0.2, handlelength=1.4, handletextpad=0.4, columnspacing=1.4,
        )  # fmt: skip
        unnamed.extend(_draw_names(axes, points, fronts))

    return Scatter(
        title=title,
        svg=draw(paint, WIDTH, HEIGHT, title) if points else "",
        points=points,
        unbeaten=[_name(point.line, lines) + _mark(point.line) for point in points if point.front],
        unnamed=unnamed,
        left_out=list(left_out.items()),
    )


def _axes(axes: "Axes", points: Sequence[Point]) -> None:
    """Set the axes up: cost grows to the right, likeness to the reference upwards."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    low, high = points[0].cost, points[-1].cost
    spare = max(1.12, (2 / (high / low)) ** 0.5)
    axes.set_xscale("log")
    axes.set_xlim(low / spare, high * spare)
    # Within a few times the same size the round numbers of a plain axis fall closer.
    near = high / low * spare**2 < 8
    steps = [1, 2, 2.5, 5, 10]
    locator = MaxNLocator(6, steps=steps) if near else LogLocator(subs=(1, 2, 5))
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    drops = [point.drop for point in points]
    top, bottom = logarithmic(axes, "y", drops, _kept, least=NEAREST, zero="equal", steps=(1, 2, 5))
    axes.set_ylim(bottom * 1.4, top)


def _kept(drop: float) -> str:
    """Write the IoU that is left after a drop."""
    return f"{1 - drop:.4f}".rstrip("0").rstrip(".")


def _draw_fronts(axes: "Axes", points: Sequence[Point]) -> list[list[Point]]:
    """Draw the Pareto front of each model and image size that has two bundles on it or more."""
    fronts: dict[tuple[str, int | None], list[Point]] = {}
    for point in points:
        if point.front:
            bundle = point.line.bundle
            fronts.setdefault((bundle.weights, bundle.image_size), []).append(point)
    drawn = [front for front in fronts.values() if len(front) > 1]
    for front in drawn:
        line = axes.plot(*zip(*map(_place, front), strict=True), color=colour("soft"), zorder=1)
        line[0].set_label("Pareto front" if front is drawn[0] else None)
    return drawn


def _draw_markers(axes: "Axes", points: Sequence[Point]) -> None:
    """Draw the markers: hollow if the encoder is slower than fp32, with a cross if it fails."""
    for target in sorted({point.line.bundle.target for point in points}, key=_rank):
        own = [point for point in points if point.line.bundle.target == target]
        own.sort(key=lambda point: point.slower)  # the legend shows the first
        name, shape = SERIES[_rank(target)[0] % len(SERIES)]
        markers = axes.scatter(
            *zip(*map(_place, own), strict=True),
            s=MARKER,
            marker=shape,
            facecolors=[colour("ground" if point.slower else name) for point in own],
            edgecolors=colour(name),
            linewidths=1.8,
            zorder=3,
            label=target,
        )
        markers.set_urls([point.title for point in own])
    if any(point.slower for point in points):
        axes.scatter(
            [], [], s=MARKER, facecolors=colour("ground"), edgecolors=colour("soft"),
            linewidths=1.8, label="slower than fp32",
        )  # fmt: skip
    failing = [_place(point) for point in points if not point.line.passed]
    if failing:
        at = list(zip(*failing, strict=True))
        # A rim, and on it the cross.
        axes.scatter(*at, s=80, marker="x", color=colour("ground"), linewidths=5.5, zorder=4)
        cross = axes.scatter(*at, s=80, marker="x", color=colour("fail"), linewidths=2.2, zorder=4)
        cross.set_label("fails, and is on no front")


def _draw_names(
    axes: "Axes", points: Sequence[Point], fronts: Sequence[Sequence[Point]]
) -> list[str]:
    """Write names, those on a front first, and return those that found no room."""
    ordered = sorted(points, key=lambda point: not point.front)
    return write_names(
        axes,
        [point.name for point in ordered],
        [_place(point) for point in ordered],
        lines=[[_place(point) for point in front] for front in fronts],
        looks=[
            ("text" if point.line.passed else "fail", "bold" if point.front else "normal")
            for point in ordered
        ],
    )


def _place(point: Point) -> tuple[float, float]:
    return point.cost, point.drop


def _name(line: Line, lines: Sequence[Line]) -> str:
    """Name the bundle, with runtime and image size if others share the name; ✕ if it fails."""
    own = line.bundle
    parts = [line.name]
    if not line.alone:
        parts.append(own.runtime)
    if len({other.bundle.image_size for other in lines}) > 1 and own.image_size:
        parts.append(str(own.image_size))
    return figures.printable(f"{'' if line.passed else '✕ '}{' '.join(parts)}")


def _mark(line: Line) -> str:
    """Say in brackets how slow it is compared with fp32; an empty string if it is not slower."""
    slower = line.tradeoff.slower
    return "" if slower is None else f" ({figures.speed(slower, 'fp32')})"


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
