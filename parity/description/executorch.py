"""What an ExecuTorch program says of itself: its method, read as the runtime's metadata is."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from mobilesam.bundle.manifest import FileRecord, Manifest, TensorRecord
from mobilesam.runtimes.executorch import SCALAR_TYPES
from parity.description.records import Description, Function, Tensor, UnreadableError
from parity.flatbuffer import FlatTable, root_of

BACKENDS = {"xnnpack": "XnnpackBackend", "coreml": "CoreMLBackend"}

_IDENTIFIER = b"ET12"
_TENSOR = 5
"""Of the union of kinds of values."""


def read(path: Path, record: FileRecord, manifest: Manifest) -> Description:
    """Read a file. Source of the numbers of fields: ExecuTorch's ``schema/program.fbs``.

    Raises:
        UnreadableError: it is no ExecuTorch program, or lacks the component's method.
    """
    content = path.read_bytes()
    if content[4:8] != _IDENTIFIER:
        raise UnreadableError("the file does not begin as an ExecuTorch program does")
    program = root_of(content)
    plans = program.tables(1)
    names = [plan.text(0) for plan in plans]
    wanted = manifest.signatures[record.component]
    if wanted.name not in names:
        raise UnreadableError(f"it has no method '{wanted.name}', only {', '.join(names)}")
    problems = []
    if names != [wanted.name]:
        problems.append(f"methods are {', '.join(names)}, the contract says '{wanted.name}'")
    if program.number(0, "Uint32") != 0:
        problems.append(f"schema version is {program.number(0, 'Uint32')}, ExecuTorch's is 0")
    plan = plans[names.index(wanted.name)]
    values = plan.tables(2)
    ends = {}
    for kind, place, specs in (("input", 3, wanted.inputs), ("output", 4, wanted.outputs)):
        indices = plan.numbers(place, "Int32").tolist()
        if len({*indices}) < len(indices):
            problems.append(f"{kind}s of the method share a value")
        ends[kind] = [_named(kind, at, index, values, specs) for at, index in enumerate(indices)]
        problems += [p for tensor, table in ends[kind] for p in _problems(tensor.name, table)]
    if {*plan.numbers(3, "Int32")} & {*plan.numbers(4, "Int32")}:
        problems.append("outputs of the method are its inputs")
    backend = manifest.options.get("backend", "")
    for found in sorted({delegate.text(0) for delegate in plan.tables(7)}):
        if found != BACKENDS.get(backend):
            problems.append(f"delegate is '{found}', the manifest says '{backend}'")
    return Description(
        described=Function(
            tuple(tensor for tensor, _ in ends["input"]),
            tuple(tensor for tensor, _ in ends["output"]),
        ),
        problems=tuple(problems),
    )


def _named(
    kind: str, at: int, index: int, values: Sequence[FlatTable], specs: Sequence[TensorRecord]
) -> tuple[Tensor, FlatTable | None]:
    """A value of the method as the tensor that is at its place in the contract: names are lost."""
    name = specs[at].name if at < len(specs) else f"{kind} {at + 1}"
    if not 0 <= index < len(values) or values[index].number(0, "Uint8") != _TENSOR:
        return Tensor(name, "no tensor", ((),)), None
    table = values[index].table(1)
    dtype = table.number(0, "Int8")
    shape = tuple(table.numbers(2, "Int32").tolist())
    return Tensor(name, SCALAR_TYPES.get(dtype, f"scalar type {dtype}"), (shape,)), table


def _problems(name: str, table: FlatTable | None) -> Iterator[str]:
    """What the runtime is told of a tensor beside its shape and its dtype."""
    if table is None:
        return
    order = table.numbers(3, "Uint8").tolist()
    if order != list(range(len(table.numbers(2, "Int32")))):
        yield f"dimensions of '{name}' lie in the order {order}, the contract's is ascending"
    if table.number(1, "Int32"):
        yield f"tensor '{name}' begins at an offset of its memory, the runtime knows none"
    if table.number(5, "Uint32"):
        yield f"tensor '{name}' is a constant of the file"
    if table.number(7, "Int8"):
        yield f"tensor '{name}' is described as sparse"
    if table.number(8, "Int8"):
        yield f"tensor '{name}' is described as of flexible shape, the contract's is fixed"
