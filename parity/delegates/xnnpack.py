"""XNNPACK, the CPU delegate of LiteRT and ExecuTorch: LiteRT is asked, an ExecuTorch file says so.

LiteRT's interpreter shows the graph after the delegate has taken its part. It does not say why the
rest was left: the reasons follow from the delegate's list of ops and types.

Source: ``tflite/delegates/xnnpack/README.md`` of LiteRT; ExecuTorch's ``schema/program.fbs``.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mobilesam.bundle.manifest import FileRecord
from mobilesam.runtimes.checked import native_banners_silenced, version_of
from parity.delegates.records import Found
from parity.flatbuffer import root_of

WITHOUT_KERNEL = frozenset(
    {"GATHER", "GATHER_ND", "CAST", "SELECT", "SELECT_V2", "SPLIT_V", "ONE_HOT", "TILE", "PACK"}
    | {"UNPACK", "EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL"}
    | {"LOGICAL_AND", "LOGICAL_OR", "LOGICAL_NOT", "ARG_MAX", "ARG_MIN", "CUMSUM", "POW"}
)
"""TFLite ops that occur in models like this one and for which XNNPACK has no kernel."""

_KERNEL_CALL, _DELEGATE_CALL = 1, 2
"""Of the union of an ExecuTorch program's instructions."""


def ask(path: Path, record: FileRecord) -> Found:
    """What stays outside XNNPACK."""
    return _executorch(path) if record.runtime == "executorch" else _litert(path)


def _litert(path: Path) -> Found:
    from ai_edge_litert.interpreter import Interpreter

    with native_banners_silenced():
        interpreter = Interpreter(model_path=str(path), num_threads=1)
        interpreter.allocate_tensors()
    nodes = interpreter._get_ops_details()
    delegated = [node for node in nodes if node["op_name"] == "DELEGATE"]
    own = [node for node in nodes if node["op_name"] != "DELEGATE"]
    covered = _covered(own, delegated)
    dtypes = {each["index"]: each["dtype"].__name__ for each in interpreter.get_tensor_details()}
    outside = Counter(
        (node["op_name"], _why(node, dtypes)) for i, node in enumerate(own) if i not in covered
    )
    how = f"asked LiteRT {version_of('ai-edge-litert')}"
    return Found.of(how, len(own), outside, partitions=len(delegated))


def _covered(own: Sequence[Any], delegated: Iterable[Any]) -> set[int]:
    """Places of the ops between what the delegate's nodes read and what they give."""
    makers = {int(tensor): i for i, node in enumerate(own) for tensor in node["outputs"]}
    covered: set[int] = set()
    for node in delegated:
        seen = {int(tensor) for tensor in node["inputs"]}
        waiting = [int(tensor) for tensor in node["outputs"]]
        while waiting:
            tensor = waiting.pop()
            maker = makers.get(tensor)
            if tensor in seen or maker is None:
                continue
            seen.add(tensor)
            covered.add(maker)
            waiting += [int(each) for each in own[maker]["inputs"]]
    return covered


def _why(node: Any, dtypes: dict[int, str]) -> str:
    if node["op_name"] in WITHOUT_KERNEL:
        return "XNNPACK has no kernel for it"
    read = {dtypes.get(int(each), "") for each in (*node["inputs"], *node["outputs"])}
    integers = sorted(read & {"int16", "int32", "int64", "bool"})
    if "int16" in integers:
        return "XNNPACK has no kernels of int16 activations"
    return "XNNPACK's kernel does not take its types or shapes"


def _executorch(path: Path) -> Found:
    """Kernels that the program calls itself, as it was lowered at export."""
    content = path.read_bytes()
    if content[4:8] != b"ET12":
        raise ValueError("the file does not begin as an ExecuTorch program does")
    plan = root_of(content).tables(1)[0]
    names = [operator.text(0) for operator in plan.tables(6)]
    calls = [call for chain in plan.tables(5) for call in chain.tables(2)]
    kernels = [c.table(1).number(0, "Int32") for c in calls if c.number(0, "Uint8") == _KERNEL_CALL]
    parts = sum(call.number(0, "Uint8") == _DELEGATE_CALL for call in calls)
    outside = Counter((names[i], "was not lowered to XNNPACK at export") for i in kernels)
    note = "a piece stands for many ops: how many, the program does not say"
    found = Found.of("read in the program", len(kernels) + parts, outside, partitions=parts)
    return Found(found.verdict, found.how, None, parts, found.outside, note)
