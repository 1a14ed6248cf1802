"""What was found as one self-contained web page: charts along the network, and every op."""

from typing import Any

from parity.bisection.report.terminal import chosen
from parity.bisection.schema import BisectData, ComponentRecord
from parity.report.html import environment
from parity.report.profile import Chart, Ops, Series, error_profile, headroom_profile

WORST = 20


def html(report: BisectData) -> str:
    """Write the page. Text from the report is escaped.

    Raises:
        MissingDependencyError: Jinja2 or matplotlib is not installed.
    """
    parts = [_part(record) for record in report.components]
    page = environment().get_template("bisect.html.jinja").render(report=report, parts=parts)
    return page + "\n"


def _part(record: ComponentRecord) -> dict[str, Any]:
    return {"record": record, "charts": _charts(record), "worst": chosen(record, WORST)}


def _charts(record: ComponentRecord) -> list[Chart]:
    """Draw the errors of the ops, and below them their headroom."""
    ops = record.ops
    along = Ops(
        file=record.component,
        modules=[op.module for op in ops],
        names=[op.name for op in ops],
        fault=None if record.fault is None else record.fault.op.index,
    )
    errors = [Series("error in a run of the file", [op.error_after for op in ops])]
    if any(op.local_error is not None for op in ops):
        errors.append(Series("local error", [op.local_error for op in ops]))
    bits = [op.headroom_bits for op in ops]
    return [
        error_profile("Error against PyTorch.", along, errors),
        headroom_profile(along, bits),
    ]
