"""Which op is the fault, and the one sentence that says so."""

import math
from collections.abc import Sequence

from parity.bisection.engine import Engine
from parity.bisection.schema import BisectData, ComponentRecord, Fault, OpRecord
from parity.report import figures
from parity.thresholds import LayerLimits


def find_fault(engine: Engine, ops: Sequence[OpRecord], limits: LayerLimits | None) -> Fault | None:
    """The first op, in the program's order, that is wrong beyond its limits; None if none is."""
    for op in ops:
        cause = _cause(op, limits)
        if cause:
            return Fault(op=op, cause=cause, span=_span(engine, ops, op))
    return None


def _cause(op: OpRecord, limits: LayerLimits | None) -> str:
    if not op.finite:
        return "it gives values that are not finite where PyTorch's are"
    if limits is None or op.local_error is None or op.excess is None:
        return ""
    if math.isnan(op.excess) or op.excess > limits.excess:
        return (
            f"fed PyTorch's values it is wrong by {figures.error(op.local_error)}, "
            f"{_times(op.excess)} what rounding explains"
        )
    if op.local_error > limits.relative_l2:
        return f"rounding alone makes it wrong by {figures.error(op.local_error)}"
    return ""


def _times(excess: float) -> str:
    return f"{figures.error(excess)} times" if math.isfinite(excess) else "infinitely more than"


def _span(engine: Engine, ops: Sequence[OpRecord], faulty: OpRecord) -> list[str]:
    """The op, after those not aligned whose values it reads, directly or through one another."""
    makers = {
        value.name: index
        for index, operation in enumerate(engine.operations)
        for value in operation.outputs
    }
    found: set[int] = set()
    waiting = [faulty.index]
    while waiting:
        index = waiting.pop()
        found.add(index)
        for operand in engine.operations[index].inputs:
            source = makers.get(operand.value.name)
            if source is not None and not ops[source].aligned and source not in found:
                waiting.append(source)
    return [ops[index].name for index in sorted(found)]


def conclude(report: BisectData) -> str:
    """One sentence: the first fault, or that there is none, and how near anything comes to one."""
    for part in report.components:
        if part.fault is not None:
            return _fault_sentence(part, part.fault)
    found = [_quiet_sentence(part) for part in report.components]
    start = "no fault" if report.limits else "no fault looked for, this scheme changes weights"
    return f"{start}: {'; '.join(found)}"


def _fault_sentence(part: ComponentRecord, fault: Fault) -> str:
    op = fault.op
    where = f"fault at op {op.name} ({op.op_type}) in module {part.component}: {op.module or '–'}"
    if len(fault.span) > 1:
        where += f", or at one of the {len(fault.span) - 1} before it from {fault.span[0]} on"
    error = f"error {figures.error(op.error_before)} before, {figures.error(op.error_after)} after"
    return f"{where}; {error}; {fault.cause}"


def _quiet_sentence(part: ComponentRecord) -> str:
    words = [f"{part.component}"]
    worst, tightest = part.worst, part.tightest
    if worst is not None and worst.local_error is not None:
        words.append(f"largest local error {figures.error(worst.local_error)} at {worst.name}")
    elif worst is not None:
        words.append(f"largest jump to {figures.error(worst.error_after)} at {worst.name}")
    if tightest is not None and tightest.headroom_bits is not None:
        words.append(
            f"least fp16 headroom {figures.bits(tightest.headroom_bits)} bits at {tightest.name}"
        )
    return f"{words[0]}: {', '.join(words[1:]) or 'nothing aligned'}"
