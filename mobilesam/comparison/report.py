"""The comparison as data, in Markdown and as a chart."""

import statistics
from collections.abc import Sequence
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from mobilesam.bundle.manifest import Record
from mobilesam.comparison.contestants import CLICK, DECODER, ENCODER, EVERYTHING
from mobilesam.errors import MissingDependencyError
from mobilesam.files import write_whole

SCHEMA_VERSION = "1.0"
NAME = "comparison"

TITLES = {
    ENCODER: "encoder, ms",
    DECODER: "decoder, ms",
    CLICK: "photo and click, ms",
    EVERYTHING: "everything, ms",
}


class Timing(Record):
    """One step of one model.

    Attributes:
        median_s, low_s, high_s: seconds on the clock: median, fastest and slowest of the runs.
        cpu_s: median of the CPU seconds of all threads.
        runs: how many were timed.
        masks: that the last run gave; 0 for a part of a click.
    """

    median_s: float
    low_s: float
    high_s: float
    cpu_s: float
    runs: int
    masks: int

    @classmethod
    def of(cls, seconds: Sequence[float], cpu: Sequence[float], masks: int) -> "Timing":
        """Of runs, one after the other."""
        return cls(
            median_s=statistics.median(seconds),
            low_s=min(seconds),
            high_s=max(seconds),
            cpu_s=statistics.median(cpu),
            runs=len(seconds),
            masks=masks,
        )


class Extrapolated(NamedTuple):
    """Seconds on the clock and CPU seconds that nobody measured."""

    seconds: float
    cpu: float


class Compared(Record):
    """One model.

    Attributes:
        model: its name in :data:`mobilesam.comparison.models.MODELS`; title: in tables.
        weights: what was computed with: "published", "demo", the name of a file, or what stands in
            for weights that are not here, which is enough for size and time.
        parameters: of the whole network; encoder_parameters: of its image encoder, or null.
        megabytes: of a float32 checkpoint, 10^6 bytes.
        image_size: longest side of what the network sees.
        peak_memory_mb: most memory that its process had, with Python and PyTorch; 10^6 bytes.
        points: that were asked about for everything; null where all is found in one pass.
        timings: by step; a step that a model does not have, or that failed, is left out.
        failed: the step that failed, and the error; empty where none did.
    """

    model: str
    title: str
    weights: str
    parameters: int
    encoder_parameters: int | None
    megabytes: float
    image_size: int
    peak_memory_mb: float | None = None
    points: int | None = None
    timings: dict[str, Timing]
    failed: str = ""

    def extrapolated_s(self, points: int) -> Extrapolated | None:
        """What everything would take with so many points, where fewer were asked about.

        One click stands for the photo and one point, and each further point takes what those that
        were measured took on average. It is an estimate, and None where there is none to make.
        """
        click, found = self.timings.get(CLICK), self.timings.get(EVERYTHING)
        if click is None or found is None or not self.points or not 1 < self.points < points:
            return None
        factor = (points - 1) / (self.points - 1)
        return Extrapolated(
            click.median_s + factor * (found.median_s - click.median_s),
            click.cpu_s + factor * (found.cpu_s - click.cpu_s),
        )


class Comparison(Record):
    """All models of one run.

    Attributes:
        machine: processor, cores, versions.
        load: median load average of the machine, in which this run counts as its threads.
        points: that are asked about for everything, by models that are asked point by point.
        models: in the order in which they were asked for.
    """

    schema_version: str = SCHEMA_VERSION
    created: str
    tool_version: str
    machine: dict[str, str]
    threads: int
    load: float | None = None
    photo: str
    photo_size: tuple[int, int]
    points: int
    command: str = ""
    models: tuple[Compared, ...]

    def markdown(self) -> str:
        """Two lines on the machine, and a table with a row for each model."""
        head = ["model", "weights", "parameters, M", "of them encoder, M", "float32, MB"]
        head += ["frame", *TITLES.values(), "peak memory, MB"]
        rows = [head]
        rows.append(["---"] * 2 + ["--:"] * (len(rows[0]) - 2))
        for each in self.models:
            encoder = each.encoder_parameters
            rows.append(
                [
                    each.title,
                    each.weights,
                    f"{each.parameters / 1e6:.1f}",
                    "–" if encoder is None else f"{encoder / 1e6:.1f}",
                    f"{each.megabytes:.1f}",
                    str(each.image_size),
                    *(
                        _cell(each.timings.get(step), step) + self._fewer(each, step)
                        for step in TITLES
                    ),
                    "–" if each.peak_memory_mb is None else _rounded(each.peak_memory_mb),
                ]
            )
        height, width = self.photo_size
        load = "" if self.load is None else f" Load average {self.load:.1f}."
        facts = ", ".join(f"{key} {value}" for key, value in self.machine.items())
        return "\n".join(
            [
                f"{self.threads} thread(s); {self.photo}, {width} x {height}; everything: "
                f"{self.points} points where a model is asked point by point. Milliseconds on the "
                "clock: median of the runs, in turns, and in brackets the fastest and the slowest; "
                "then CPU time.",
                f"{facts}.{load}",
                "",
                *("| " + " | ".join(row) + " |" for row in rows),
                "",
                *(f"{each.title} failed at {each.failed}\n" for each in self.models if each.failed),
            ]
        )

    def _fewer(self, model: Compared, step: str) -> str:
        """What is said where a model was asked about fewer points than the others."""
        if step not in model.timings or step != EVERYTHING:
            return ""
        if not model.points or model.points == self.points:
            return ""
        estimate = model.extrapolated_s(self.points)
        said = f" for {model.points} points"
        if estimate is not None:
            said += f" (extrapolated to {self.points}: {_rounded(estimate.seconds * 1e3)}; CPU "
            said += f"{_rounded(estimate.cpu * 1e3)})"
        return said

    def save(self, folder: Path) -> dict[str, Path]:
        """Write JSON, Markdown and the chart.

        Returns:
            Each file by its suffix.

        Raises:
            MissingDependencyError: matplotlib is not installed; nothing is written then.
        """
        picture = chart(self)
        folder.mkdir(parents=True, exist_ok=True)
        contents = {
            "json": self.model_dump_json(indent=2) + "\n",
            "md": self.markdown(),
            "svg": picture,
        }
        written = {}
        for suffix, content in contents.items():
            written[suffix] = folder / f"{NAME}.{suffix}"
            write_whole(written[suffix], content)
        return written


def _cell(timing: Timing | None, step: str) -> str:
    """Milliseconds, and of everything how many masks there were."""
    if timing is None:
        return "–"
    median, low, high = (
        _rounded(value * 1e3) for value in (timing.median_s, timing.low_s, timing.high_s)
    )
    said = median if timing.runs == 1 else f"{median} ({low} to {high})"
    said += f"; CPU {_rounded(timing.cpu_s * 1e3)}"
    return f"{said}; {timing.masks} masks" if step == EVERYTHING else said


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def require_chart() -> None:
    """Raise MissingDependencyError if matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise MissingDependencyError(
            "the chart needs matplotlib: pip install 'mobilesam-export[report]'"
        )


def chart(comparison: Comparison) -> str:
    """Bars on a logarithmic scale: one click and everything of each model, as SVG.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    require_chart()
    from matplotlib.figure import Figure

    models = comparison.models[::-1]
    figure = Figure(figsize=(9, 1.2 + 0.5 * len(models)), layout="constrained")
    axes = figure.subplots()
    steps = ((EVERYTHING, 0.2, "#3a6ea5"), (CLICK, -0.2, "#e0a030"))
    for step, shift, colour in steps:
        found = [
            (place, model.timings[step], _few_points(comparison, model, step))
            for place, model in enumerate(models)
            if step in model.timings
        ]
        if not found:
            continue
        bars = axes.barh(
            [place + shift for place, _, _ in found],
            [timing.median_s for _, timing, _ in found],
            height=0.36,
            color=colour,
            label="everything in a photo" if step == EVERYTHING else "photo and one click",
        )
        labels = [f" {_seconds(timing.median_s)}{said}" for _, timing, said in found]
        axes.bar_label(bars, labels, fontsize=9)
    axes.set_yticks(range(len(models)), [model.title for model in models])
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.set_xlabel(f"seconds on the clock, {comparison.threads} thread(s), logarithmic")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _few_points(comparison: Comparison, model: Compared, step: str) -> str:
    """What a bar says that stands for fewer points than the others."""
    fewer = step == EVERYTHING and model.points and model.points != comparison.points
    return f", {model.points} points only" if fewer else ""


def _seconds(value: float) -> str:
    return f"{value * 1e3:.0f} ms" if value < 1 else f"{value:.3g} s"
