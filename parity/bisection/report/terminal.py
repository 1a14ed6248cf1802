"""Ops on a terminal: a table for each file, then the conclusion."""

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from parity.bisection.schema import BisectData, ComponentRecord, OpRecord
from parity.report import figures

WIDE = 132
"""Width of a terminal, in characters, from which the table shows every figure."""


def print_tables(report: BisectData, console: Console, top: int | None) -> None:
    """Print a table for each file and, last, the conclusion."""
    for part in report.components:
        console.print(
            Text(
                f"{part.component} on {part.engine}: aligned {part.aligned} of {len(part.ops)} ops"
            )
        )
        console.print(_table(part, top, wide=console.width >= WIDE))
    style = "bold red" if report.verdict == "fault" else "bold green"
    console.print(Text(report.conclusion, style=style if report.limits else "bold"))


def _table(part: ComponentRecord, top: int | None, *, wide: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("#", justify="right")
    table.add_column("op", no_wrap=True)
    table.add_column("module", overflow="fold", ratio=1)
    if wide:
        table.add_column("value", overflow="fold")
    titles = ["local error", "× rounding", "before", "after"]
    titles += ["max |x|", "headroom bits"] if wide else ["bits"]
    for title in titles:
        table.add_column(title, justify="right")
    faulty = None if part.fault is None else part.fault.op.index
    for op in chosen(part, top):
        bits = figures.bits(op.headroom_bits)
        errors = [op.local_error, op.excess, op.error_before, op.error_after]
        cells = [str(op.index), op.op_type, op.module or figures.MISSING]
        cells += [op.name.rpartition("__")[2]] if wide else []  # before it stands the module
        cells += [figures.error(value) for value in errors]
        cells += [figures.error(op.largest), bits] if wide else [bits]
        table.add_row(*cells, style="bold red" if op.index == faulty else None)
    return table


def chosen(part: ComponentRecord, top: int | None) -> list[OpRecord]:
    """All ops in order if ``top`` is None; otherwise the fault and the worst, ``top`` in all."""
    if top is None:
        return part.ops
    first = [] if part.fault is None else [part.ops[part.fault.op.index]]
    others = sorted((op for op in part.ops if op not in first), key=lambda op: -op.rank)
    return [*first, *others][:top]
