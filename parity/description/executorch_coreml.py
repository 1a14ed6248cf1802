"""What an ExecuTorch program for Apple says of itself: its method, and the package inside."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mobilesam.bundle.manifest import FileRecord, Manifest
from mobilesam.runtimes.executorch_coreml import CoreMLDelegate, package_of
from parity.description import coreml, executorch
from parity.description.records import Description, Function, Tensor


def read(path: Path, record: FileRecord, manifest: Manifest) -> Description:
    """Read a file; what the package inside takes and gives is the program of the method.

    Raises:
        UnreadableError: it is no ExecuTorch program, lacks the component's method, or the package
            inside is damaged.
        BundleError: it is not one call of Core ML.
    """
    method = executorch.read(path, record, manifest)
    with package_of(path) as (delegate, package):
        inside = coreml.read(package, record, manifest)
    assert inside.program is not None
    problems = [*method.problems, *inside.problems, *_undescribed(inside)]
    return replace(
        method,
        program=_by_place(inside.program, delegate, method.described),
        problems=tuple(problems),
    )


def _by_place(program: Function, delegate: CoreMLDelegate, method: Function) -> Function:
    """The package's tensors, by the names of the method's that the delegate fills them from."""
    inputs = _renamed(program.inputs, [name for name, _ in delegate.inputs], method.inputs)
    outputs = _renamed(program.outputs, [name for name, _ in delegate.outputs], method.outputs)
    return Function(inputs, outputs)


def _renamed(
    inside: Sequence[Tensor], names: Sequence[str], outside: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    known = dict(zip(names, (tensor.name for tensor in outside), strict=True))
    return tuple(replace(t, name=known.get(t.name, t.name)) for t in inside)


def _undescribed(inside: Description) -> Iterator[str]:
    """Where the package does not describe its own program."""
    assert inside.program is not None
    for kind in ("input", "output"):
        described = {str(t.name): t for t in getattr(inside.described, f"{kind}s")}
        program = {str(t.name): t for t in getattr(inside.program, f"{kind}s")}
        for name in {**described, **program}:
            if described.get(name) != program.get(name):
                said, taken = described.get(name, "nothing"), program.get(name, "nothing")
                yield f"{kind} '{name}' of the package is described as {said}, it is {taken}"
