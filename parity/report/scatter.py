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

RADIUS = 6.0
"""Distance from the middle of a marker that names keep, in the chart's units."""

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
        _draw_legends(axes, points, with_front=bool(fronts))
        unnamed.extend(_draw_names(axes, points, fronts))

    return Scatter(
        title=title,
        svg=draw(paint, WIDTH, HEIGHT, title, prefix=f"{title[:4].lower()}-") if points else "",
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
    models = [(point.line.bundle.weights, point.line.bundle.image_size) for point in points]
    fronts = [
        [point for point, own in zip(points, models, strict=True) if point.front and own == model]
        for model in dict.fromkeys(models)
    ]
    fronts = [front for front in fronts if len(front) > 1]
    for front in fronts:
        corners = [point.cost for point in front], [point.drop for point in front]
        axes.plot(*corners, color=colour("soft"), zorder=1)
    return fronts


def _draw_markers(axes: "Axes", points: Sequence[Point]) -> None:
    for point in points:
        name, shape = _look(point.line.bundle.target)
        marker = axes.scatter(
            [point.cost],
            [point.drop],
            s=MARKER,
            marker=shape,
            facecolors=colour("ground" if point.slower else name),
            edgecolors=colour(name),
            linewidths=1.8,
            clip_on=False,
            zorder=3,
        )
        marker.set_urls([point.title])
        if not point.line.passed:
            for name, width in (("ground", 5.5), ("fail", 2.2)):  # a rim, and the cross on it
                cross = axes.plot(point.cost, point.drop, marker="x", markersize=9, zorder=4)[0]
                cross.set(color=colour(name), markeredgewidth=width, clip_on=False)


def _draw_legends(axes: "Axes", points: Sequence[Point], *, with_front: bool) -> None:
    """Explain the targets, and below them the other marks that occur in the plot."""
    from matplotlib.legend import Legend
    from matplotlib.lines import Line2D

    targets = sorted({point.line.bundle.target for point in points}, key=_rank)
    handles = [
        Line2D([], [], color=colour(name), marker=shape, markersize=7, linewidth=0, label=target)
        for target in targets
        for name, shape in [_look(target)]
    ]
    marks = []
    if with_front:
        marks.append(Line2D([], [], color=colour("soft"), label="Pareto front"))
    if any(point.slower for point in points):
        hollow = Line2D([], [], marker="o", markersize=7, linewidth=0, label="slower than fp32")
        hollow.set(markerfacecolor=colour("ground"), markeredgecolor=colour("soft"))
        hollow.set_markeredgewidth(1.8)
        marks.append(hollow)
    if not all(point.line.passed for point in points):
        failed = Line2D([], [], color=colour("fail"), marker="x", markersize=7, linewidth=0)
        failed.set_markeredgewidth(2)
        failed.set_label("fails, and is on no front")
        marks.append(failed)
    for row, entries in ((1.055, handles), (1.0, marks)):
        if entries:
            legend = Legend(
                axes,
                entries,
                [str(entry.get_label()) for entry in entries],
                loc="lower left",
                bbox_to_anchor=(-0.01, row),
                ncols=len(entries),
                borderpad=0.1,
                borderaxespad=0,
                handlelength=1.4,
                handletextpad=0.4,
                columnspacing=1.4,
            )
            axes.add_artist(legend)


def _draw_names(
    axes: "Axes",
    points: Sequence[Point],
    fronts: Sequence[Sequence[Point]],
) -> list[str]:
    """Write names, those on a front first, and return those that found no room."""
    ordered = sorted(points, key=lambda point: not point.front)
    middles = [(point.cost, point.drop) for point in ordered]
    written = write_names(
        axes,
        [point.name for point in ordered],
        middles,
        markers=middles,
        radius=RADIUS,
        lines=[[(point.cost, point.drop) for point in front] for front in fronts],
        colours=["text" if point.line.passed else "fail" for point in ordered],
        bold=[point.front for point in ordered],
    )
    return [point.name for point, kept in zip(ordered, written, strict=True) if not kept]


def _name(line: Line, lines: Sequence[Line]) -> str:
    """Name the bundle, with runtime and image size if others share the name; ✕ if it fails."""
    own = line.bundle
    parts = [own.bundle]
    if sum(other.bundle.path == own.path for other in lines) > 1:
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


def _look(target: str) -> tuple[str, str]:
    """Colour and marker of a target: the same in every report."""
    return SERIES[_rank(target)[0] % len(SERIES)]
