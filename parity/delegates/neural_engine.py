"""Apple's Neural Engine, by documented rules: only a Mac can be asked (``MLComputePlan``).

That an op breaks no rule does not say that Core ML runs it there: it weighs costs as well.

Source: Apple's guide to Core ML Tools, "Typed Execution Workflow Example" (float16 programs may run
on the Neural Engine, float32 ones on GPU and CPU); Apple, developer.apple.com/forums/thread/724930
(of an input with a range of sizes, its default only). Where Apple says nothing, what others
measured: ane-guide.readthedocs.io, "Capability surface" and "Model-design rules".
"""

from collections import Counter
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any

from mobilesam.bundle.manifest import FileRecord
from parity.delegates.records import Found

HOW = "rules of Apple's Core ML Tools guide and of ane-guide; only a Mac can be asked"

MOST_AXES = 5
WHOLE = frozenset({"INT32", "INT64"})
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
    for function in spec.mlProgram.functions.values():
        for block in function.block_specializations.values():
            ops = [op for op in block.operations if not _is_constant(op)]
            total += len(ops)
            wide = _float32(function, ops)
            outside.update((op.type, why) for op in ops if (why := refusal(op, wide)))
    return Found.of(HOW, total, outside, note=_shapes(spec))


def _is_constant(op: Any) -> bool:
    return bool(op.type == "const" or op.type.startswith("constexpr_"))


def _float32(function: Any, ops: Iterable[Any]) -> set[str]:
    """Names of the values of a program that are float32, constants left out."""
    made = (output for op in ops for output in op.outputs)
    return {
        value.name
        for value in (*function.inputs, *made)
        if _dtype(value.type.tensorType.dataType) == "FLOAT32"
    }


def refusal(op: Any, wide: Container[str]) -> str:
    """Why the Neural Engine does not take an op of a program; empty where no rule says so.

    Args:
        op: of the program.
        wide: names of the values that are float32.
    """
    if op.type in NOWHERE:
        return "no Neural Engine has such an op"
    read = (each.name for given in op.inputs.values() for each in given.arguments)
    names = (*read, *(output.name for output in op.outputs))
    # A cast only leads from one type to the other.
    if op.type != "cast" and any(name in wide for name in names):
        return "computes in float32, the Neural Engine in float16"
    for output in op.outputs:
        tensor = output.type.tensorType
        kind = _dtype(tensor.dataType)
        if tensor.rank > MOST_AXES:
            return f"a tensor of {tensor.rank} axes, it takes {MOST_AXES}"
        if kind in WHOLE:
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
