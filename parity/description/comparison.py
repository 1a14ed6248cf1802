"""A file's description held against the contract and against the program in the file."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from mobilesam.bundle.manifest import FileRecord, Manifest
from parity.description.records import IMAGE, Description, Function, Tensor

FACTS = ("contract_version", "component", "scheme", "weights", "weights_sha256")
"""What files that carry facts say of themselves, and the manifest of them."""


def wanted_function(manifest: Manifest, record: FileRecord) -> Function:
    """What the contract wants of a component, with an image where the bundle says so."""
    signature = manifest.signatures[record.component]
    inputs = tuple(Tensor.of(spec) for spec in signature.inputs)
    if record.runtime == "coreml" and manifest.options.get("input") == "image":
        inputs = tuple(
            replace(tensor, dtype=f"{IMAGE} RGB") if tensor.name == "image" else tensor
            for tensor in inputs
        )
    return Function(inputs, tuple(Tensor.of(spec) for spec in signature.outputs))


def differences(found: Description, manifest: Manifest, record: FileRecord) -> Iterator[str]:
    """Every difference, as a clause that begins with a noun."""
    yield from found.problems
    wanted = wanted_function(manifest, record)
    for kind in ("input", "output"):
        described: Sequence[Tensor] = getattr(found.described, f"{kind}s")
        of_contract: Sequence[Tensor] = getattr(wanted, f"{kind}s")
        said = "the contract says"
        yield from _against(kind, described, of_contract, said, found.ordered, exactly=True)
        if found.program is not None:
            verb = "the program takes" if kind == "input" else "the program gives"
            inside: Sequence[Tensor] = getattr(found.program, f"{kind}s")
            # What an app gives as a picture reaches the program as numbers.
            seen = [_as_program_sees(tensor, inside) for tensor in described]
            yield from _against(kind, seen, inside, verb)
    stated = {
        "contract_version": manifest.contract_version,
        "component": record.component,
        "scheme": manifest.scheme.name,
        "weights": manifest.weights.name,
        "weights_sha256": manifest.weights.sha256,
    }
    for fact in FACTS:
        if fact in found.facts and found.facts[fact] != stated[fact]:
            yield (
                f"metadata '{fact}' is '{found.facts[fact]}', the manifest says '{stated[fact]}'"
            )


def _against(
    kind: str,
    described: Sequence[Tensor],
    wanted: Sequence[Tensor],
    who: str,
    ordered: bool = False,
    *,
    exactly: bool = False,
) -> Iterator[str]:
    names = [tensor.name for tensor in described]
    expected = {tensor.name: tensor for tensor in wanted}
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            yield f"{kind} '{name}' is described {names.count(name)} times"
        if name not in expected:
            yield f"{kind} '{name}' is described, {who} {_listed(expected)}"
    for name in expected:
        if name not in names:
            yield f"{kind} '{name}' is not described, only {_listed(names)}"
    for tensor in described:
        other = expected.get(tensor.name)
        if other is not None and not (_equal if exactly else _fits)(tensor, other):
            yield f"{kind} '{tensor.name}' is described as {tensor}, {who} {other}"
        if other is not None and tensor.meaning and other.meaning not in tensor.meaning:
            said = f"{kind} '{tensor.name}' is described in words as '{tensor.meaning}'"
            yield f"{said}, {who} '{other.meaning}'"
    if ordered and sorted(names) == sorted(expected) and names != list(expected):
        yield f"{kind}s are in the order {', '.join(names)}, {who} {', '.join(expected)}"


def _equal(described: Tensor, other: Tensor) -> bool:
    return described.dtype == other.dtype and {*described.shapes} == {*other.shapes}


def _fits(described: Tensor, other: Tensor) -> bool:
    """Whether both are one; a program's side that may be anything fits any."""
    if described.dtype != other.dtype:
        return False
    if any(None in shape for shape in other.shapes):
        (open_,) = other.shapes
        return all(
            len(shape) == len(open_)
            and all(b is None or a == b for a, b in zip(shape, open_, strict=True))
            for shape in described.shapes
        )
    return _equal(described, other)


def _as_program_sees(tensor: Tensor, inside: Sequence[Tensor]) -> Tensor:
    """A described image as floats, where the program takes floats."""
    dtypes = {other.name: other.dtype for other in inside}
    if tensor.dtype.startswith(IMAGE) and dtypes.get(tensor.name) in ("float16", "float32"):
        return replace(tensor, dtype=dtypes[tensor.name])
    return tensor


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"
