"""The plot of a sensitivity table: mask IoU lost against megabytes saved by groups of layers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from parity.mixed_precision.sensitivity import GroupCost
from parity.report import figures
from parity.report.svg import SERIES, colour, draw, logarithmic, plain_axes, write_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 920, 580
MARKER = 48.0
"""Area of a marker, in the plot's units squared."""

LEAST_LOSS, LEAST_MB = 1e-5, 1e-3
"""Both axes are linear from here down to zero. Negative values are drawn at zero."""

NAMED = 14
"""How many marks have a name beside them, the costliest; each tells its name on hover."""


def sensitivity_plot(costs: Sequence[GroupCost]) -> str:
    """Draw every cost as the text of an SVG file.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    ranked = sorted(costs, key=lambda cost: -cost.loss)
    losses = [max(cost.loss, 0.0) for cost in ranked]
    saved = [max(cost.saved_bytes / 1e6, 0.0) for cost in ranked]

    def paint(figure: "Figure") -> None:
        axes = plain_axes(figure, left=84, top=40, right=24, bottom=52)
        axes.set_xlabel("MB saved (logarithmic)")
        axes.set_ylabel("mask IoU lost (logarithmic)")
        logarithmic(axes, "x", saved, figures.limit, least=LEAST_MB, zero="0", steps=(1, 2, 5))
        _, high = logarithmic(axes, "y", losses, figures.limit, least=LEAST_LOSS, zero="0 or less")
        axes.set_ylim(top=high * 2)  # room for the names of what costs the most
        precisions = sorted({cost.precision for cost in costs})
        for turn, precision in enumerate(precisions):
            name, shape = SERIES[(turn + 1) % len(SERIES)]
            own = [at for at, cost in enumerate(ranked) if cost.precision == precision]
            drawn = axes.scatter(
                [saved[at] for at in own],
                [losses[at] for at in own],
                s=MARKER,
                marker=shape,
                color=colour(name),
                edgecolors=colour("ground"),
                linewidths=0.8,
                label=precision,
                clip_on=False,
                zorder=3,
            )
            drawn.set_urls([_title(ranked[at]) for at in own])
        axes.legend(
            loc="lower left", bbox_to_anchor=(-0.01, 1.01), ncols=len(precisions), borderpad=0
        )
        marks = list(zip(saved, losses, strict=True))
        names = [figures.printable(cost.group) for cost in ranked[:NAMED]]
        write_names(axes, names, marks)

    label = "Mask IoU lost against megabytes saved, a mark for each group of layers and precision"
    return draw(paint, WIDTH, HEIGHT, label, standalone=True)


def _title(cost: GroupCost) -> str:
    return figures.printable(
        f"{cost.component} {cost.group} in {cost.precision}: {cost.loss:.4f} lost, "
        f"{cost.saved_bytes / 1e6:.2f} MB saved"
    )
