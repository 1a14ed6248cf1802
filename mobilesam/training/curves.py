"""Loss and IoU over a run, as a PNG."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam.errors import MissingDependencyError
from mobilesam.files import written_whole

_SMOOTHING = 0.02  # share of the run that a drawn point averages over
_LEFT = {"loss": "total", "mask_loss": "masks, first prompt", "iou_loss": "IoU prediction"}
_LEFT |= {"held_out_mse": "held-out photos"}
_RIGHT = {
    "iou_point": "click, mask 0",
    "iou_point_best_of_three": "click, best of three",
    "iou_box": "box",
    "iou_geometry": "shapes on noise",
    "iou_box_and_point": "box and click",
    "iou_refined": "after corrections",
}


def require_curves() -> None:
    """Check, before long work, that curves can be drawn at its end.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise MissingDependencyError(
            'curves need matplotlib: pip install "mobilesam-export[train]"'
        )


def draw_curves(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw what a run logged: losses on the left, IoU on training batches on the right.

    Dotted lines mark where a stage begins.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    require_curves()
    if not rows:
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for axes, series in ((left, _LEFT), (right, _RIGHT)):
        for key, label in series.items():
            points = [(row["step"], row[key]) for row in rows if key in row]
            if points:
                steps, values = zip(*points, strict=True)
                axes.plot(steps, _smooth(np.array(values)), label=label, linewidth=1.3)
        for before, after in zip(rows, rows[1:], strict=False):
            if before["stage"] != after["stage"]:
                axes.axvline(after["step"], color="grey", linestyle=":", linewidth=0.8)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
    left.set_title("loss")
    left.set_ylim(bottom=0)
    right.set_title("IoU on training batches")
    right.set_ylim(0, 1)
    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def _smooth(values: np.ndarray) -> np.ndarray:
    """Moving average, shorter at the ends."""
    width = max(1, int(_SMOOTHING * len(values)))
    kernel = np.ones(width)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones_like(values), kernel, "same")
