"""The report as one self-contained web page: it needs no network, no script and no other file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilesam.errors import MissingDependencyError
from parity.metrics import SAME_TO_THE_EYE
from parity.report import figures
from parity.report.aggregate import channel_rows, prompt_rows, spread
from parity.report.places import places
from parity.report.profile import Chart, Ops, headroom_profile
from parity.report.scatter import scatters
from parity.report.strips import strip_chart, strips
from parity.report.summary import (
    EMULATED_NOTE,
    Line,
    counts,
    demo_note,
    engine_line,
    headline,
    headroom_line,
    overflows,
    reference_line,
    summarise,
    weights_line,
)
from parity.report.svg import PALETTE, require_charts
from parity.schema import CaseMetrics, Headroom, Measurement, ReportData

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).with_name("templates")
FILTERS = (
    *("share", "error", "exact", "limit", "percent", "speed", "count", "decibels"),
    *("drop", "percent_lost"),
    *("megabytes", "milliseconds", "seconds", "words", "metric", "bits"),
)
"""Functions of ``parity.report.figures`` that templates use by name."""

WORST_CASES = 8
"""How many cases of each bundle are listed one by one."""


def html(report: ReportData) -> str:
    """Write the page. Text from the report is escaped; pictures are data URIs, charts inline SVG.

    Raises:
        MissingDependencyError: Jinja2 or matplotlib is not installed.
    """
    lines = summarise(report)
    passing, total = counts(report)
    page = (
        environment()
        .get_template("report.html.jinja")
        .render(
            report=report,
            lines=lines,
            places=places(report.bundles),
            details=[_details(line) for line in lines],
            reference=reference_line(report),
            headline=headline(report),
            passing=passing,
            total=total,
            threads=sorted({m.threads for m in _measurements(report)}),
            human=any(line.tradeoff.human_drop is not None for line in lines),
            tradeoffs=scatters(lines),
            strips=strip_chart(strips(lines)),
            demo_note=demo_note(report),
            drawn_with=_weights(report),
            emulated_note=EMULATED_NOTE if any(line.emulated for line in lines) else "",
        )
    )
    return page + "\n"


def require_page() -> None:
    """Check, before long work, that the page can be written at its end.

    Raises:
        MissingDependencyError: Jinja2 or a library that draws charts is not installed.
    """
    environment()
    require_charts()


def environment() -> "Environment":
    """Set Jinja2 up with this folder's templates and filters; an undefined name is an error.

    Raises:
        MissingDependencyError: Jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError:
        raise MissingDependencyError(
            'the page needs Jinja2, which is not installed: pip install "mobilesam-export[report]"'
        ) from None
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update({name: getattr(figures, name) for name in FILTERS})
    made.globals |= {"palette": PALETTE, "eye": SAME_TO_THE_EYE}
    made.filters["sign"] = figures.SIGNS.__getitem__
    return made


def _weights(report: ReportData) -> str:
    """Name and description of the reference's weights."""
    weights = report.weights
    words = weights.get("name", "without a name")
    description = weights.get("description", "")
    return f"{words}: {description}" if description else words


def _measurements(report: ReportData) -> list[Measurement]:
    return [*report.reference, *(m for bundle in report.bundles for m in bundle.measurements)]


def _details(line: Line) -> dict[str, Any]:
    """Collect what the section of a bundle shows."""
    bundle = line.bundle
    rows = _paired(prompt_rows(bundle.cases, "decoder"), prompt_rows(bundle.cases, "end_to_end"))
    return {
        "bundle": bundle,
        "name": line.name,
        "prompts": rows,
        "human": any(row.human_reference is not None for pair in rows for row in pair),
        "channels": _paired(
            channel_rows(bundle.cases, "decoder"), channel_rows(bundle.cases, "end_to_end")
        ),
        "worst": sorted(
            (case for case in bundle.cases if case.stage == "end_to_end"), key=_worst_iou
        )[:WORST_CASES],
        "least": _least,
        "engine": engine_line(bundle),
        "weights": weights_line(bundle),
        "headroom": headroom_line(bundle),
        "overflows": overflows(bundle),
        "profiles": [(part, _profile(part, bundle.path)) for part in bundle.headroom],
        "encoder": {
            "relative_l2": spread(m.relative_l2 for m in bundle.encoder),
            "max_abs_error": spread(m.max_abs_error for m in bundle.encoder),
        },
    }


def _profile(part: Headroom, path: str) -> Chart:
    names = [op.name for op in part.ops]
    along = Ops(f"{path}, {part.component}", names, names)
    overflowed = [index for index, op in enumerate(part.ops) if op.overflow is not None]
    return headroom_profile(along, [op.headroom_bits for op in part.ops], overflowed)


def _paired(decoder: list[Any], end_to_end: list[Any]) -> list[list[Any]]:
    """Group rows of the two stages by their name; a name may occur in one stage only."""
    names = dict.fromkeys(row.name for row in (*decoder, *end_to_end))
    return [[row for row in (*decoder, *end_to_end) if row.name == name] for name in names]


def _least(case: CaseMetrics) -> float | None:
    ious = [mask.mask_iou for mask in case.masks if mask.mask_iou is not None]
    return min(ious, default=None)


def _worst_iou(case: CaseMetrics) -> float:
    """Sort key: cases with values that are not finite, then by worst mask, degenerate ones last."""
    if not case.finite:
        return -1.0
    least = _least(case)
    return 2.0 if least is None else least
