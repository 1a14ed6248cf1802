"""Apple's Neural Engine, by documented rules: only a Mac can be asked (``MLComputePlan``).

That an op breaks no rule does not say that Core ML runs it there: it weighs costs as well.

Source: Apple's guide to Core ML Tools, "Typed Execution" (the Neural Engine computes in float16
alone) and "Flexible Input Shapes" (a range of sizes runs there at its default only); where Apple
says nothing, what others measured: ane-guide.readthedocs.io, "Capability surface" and "Model-design
rules".
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mobilesam.bundle.manifest import FileRecord
from parity.delegates.records import Found

HOW = "rules of Apple's Core ML Tools guide and of ane-guide; only a Mac can be asked"

MOST_AXES = 5
FROM_A15 = frozenset({"sin", "cos"})
NOWHERE = frozenset(
    {"reduce_prod", "scatter", "scatter_nd", "scatter_along_axis", "non_zero", "gru", "lstm", "rnn"}
)


def ask(path: Path, record: FileRecord) -> Found:
    """What stays outside the Neural Engine."""
    from coremltools.proto import Model_pb2

    spec = Model_pb2.Model.FromString((path / "Data/com.apple.CoreML/model.mlmodel").read_bytes())
    total = 0
    outside: Counter[tuple[str, str]] = Counter()
    for op in _ops(spec):
        total += 1
        why = refusal(op)
        if why:
            outside[op.type, why] += 1
    return Found.of(HOW, total, outside, note=_shapes(spec))


def _ops(spec: Any) -> Iterator[Any]:
    """Ops that compute; constants and what makes them of compressed ones do not."""
    for function in spec.mlProgram.functions.values():
        for block in function.block_specializations.values():
            for op in block.operations:
                if op.type != "const" and not op.type.startswith("constexpr_"):
                    yield op


def refusal(op: Any) -> str:
    """Why the Neural Engine does not take an op of a program; empty where no rule says so."""
    if op.type in NOWHERE:
        return "no Neural Engine has such an op"
    for output in op.outputs:
        tensor = output.type.tensorType
        kind = _dtype(tensor.dataType)
        if tensor.rank > MOST_AXES:
            return f"a tensor of {tensor.rank} axes, it takes {MOST_AXES}"
        # The cast that leaves float16 at the program's end is no computation.
        if kind == "FLOAT32" and op.type != "cast":
            return "computes in float32, the Neural Engine in float16"
        if kind.startswith(("INT", "UINT", "BOOL")):
            return f"gives {kind.lower()}, which the Neural Engine does not compute in"
    if op.type in FROM_A15:
        return "only from the A15 on"
    return ""


def _dtype(number: int) -> str:
    from coremltools.proto import MIL_pb2

    return str(MIL_pb2.DataType.Name(number))


def _shapes(spec: Any) -> str:
    """A note, where an input may have a range of sizes."""
    ranged = [
        each.name
        for each in spec.description.input
        if each.type.multiArrayType.WhichOneof("ShapeFlexibility") == "shapeRange"
        or each.type.imageType.WhichOneof("SizeFlexibility") == "imageSizeRange"
    ]
    if not ranged:
        return ""
    names = ", ".join(ranged)
    return (
        f"{names} may have a range of sizes: at others than the default it runs on the CPU or GPU"
    )
