"""What a TFLite file says of itself: its signature, and the tensors of its graph."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mobilesam.bundle.manifest import FileRecord, Manifest, SignatureRecord
from parity.description.records import Description, Function, Tensor, UnreadableError

SCHEMA_VERSION = 3
_OLD_CODES = 127
"""Builtin operators from this number on are in a second field; the first has this number."""

_LIBRARY_METADATA = "TFLITE_METADATA"
"""By which the Task Library and ML Kit normalise an image and name what comes out."""


def read(path: Path, record: FileRecord, manifest: Manifest) -> Description:
    """Read a file.

    Raises:
        UnreadableError: it is no TFLite file, or lacks the component's signature.
    """
    from ai_edge_litert import schema_py_generated as schema

    content = path.read_bytes()
    if not schema.Model.ModelBufferHasIdentifier(content, 0):
        raise UnreadableError("the file does not begin as a TFLite file does")
    model = schema.Model.GetRootAs(content, 0)
    wanted = manifest.signatures[record.component]
    signatures = [model.SignatureDefs(i) for i in range(model.SignatureDefsLength())]
    keys = [_text(each.SignatureKey()) for each in signatures]
    if keys.count(wanted.name) != 1 or model.SubgraphsLength() != 1:
        raise UnreadableError(
            f"it has the signatures {', '.join(keys) or 'none'} and {model.SubgraphsLength()} "
            f"graphs, wanted one graph with '{wanted.name}'"
        )
    signature, graph = signatures[keys.index(wanted.name)], model.Subgraphs(0)
    if signature.SubgraphIndex() != 0:
        raise UnreadableError(f"signature '{wanted.name}' is of a graph that is not there")
    inputs = [signature.Inputs(i) for i in range(signature.InputsLength())]
    outputs = [signature.Outputs(i) for i in range(signature.OutputsLength())]
    total = graph.TensorsLength()
    for entry in (*inputs, *outputs):
        if entry.TensorIndex() >= total:
            raise UnreadableError(f"'{_text(entry.Name())}' is of a tensor that is not there")
    kinds = (("input", inputs, graph.InputsAsNumpy()), ("output", outputs, graph.OutputsAsNumpy()))
    problems = [*_problems_of_model(model, schema)]
    if len(keys) > 1:
        problems.append(f"signatures are {', '.join(keys)}, the contract says '{wanted.name}'")
    for kind, entries, indices in kinds:
        problems += _problems_of_ends(kind, entries, indices, graph, wanted)
        for entry in entries:
            problems += _problems_of_tensor(_text(entry.Name()), graph, entry.TensorIndex(), model)
    problems += _problems_of_makers(inputs, outputs, graph)
    return Description(
        described=Function(_tensors(inputs, graph, schema), _tensors(outputs, graph, schema)),
        problems=tuple(problems),
    )


def _tensors(entries: list[Any], graph: Any, schema: Any) -> tuple[Tensor, ...]:
    names = {number: name for name, number in vars(schema.TensorType).items() if name.isupper()}
    found = []
    for entry in entries:
        tensor = graph.Tensors(entry.TensorIndex())
        shape = tuple(int(side) for side in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
        dtype = names.get(tensor.Type(), str(tensor.Type())).lower()
        found.append(Tensor(_text(entry.Name()), dtype, (shape,)))
    return tuple(found)


def _problems_of_model(model: Any, schema: Any) -> Iterator[str]:
    """Versions, operators and metadata of the file as a whole."""
    if model.Version() != SCHEMA_VERSION:
        yield f"schema version is {model.Version()}, TFLite's is {SCHEMA_VERSION}"
    names = {number: name for name, number in vars(schema.BuiltinOperator).items()}
    for place in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(place)
        builtin, old = code.BuiltinCode(), code.DeprecatedBuiltinCode()
        name = names.get(builtin, str(builtin))
        if code.CustomCode() or name == "CUSTOM":
            yield f"operator {_text(code.CustomCode())} is not TFLite's own"
        # Files of the first writers, and of ai-edge-quantizer, have one of the two fields.
        elif old not in (min(builtin, _OLD_CODES), 0) and builtin:
            yield f"operator {name} is {builtin} in one field and {old} in the other"
        if code.Version() < 1:
            yield f"operator {name} is of version {code.Version()}, versions begin at 1"
    entries = [model.Metadata(i) for i in range(model.MetadataLength())]
    for twice, count in Counter(_text(entry.Name()) for entry in entries).items():
        if count > 1:
            yield f"metadata '{twice}' is there {count} times"
    for entry in entries:
        name = _text(entry.Name())
        if name == _LIBRARY_METADATA:
            yield f"metadata '{name}' describes inputs and outputs otherwise than the contract"
        if name == "min_runtime_version" and entry.Buffer() < model.BuffersLength():
            content = model.Buffers(entry.Buffer()).DataAsNumpy()
            version = b"" if isinstance(content, int) else content.tobytes().rstrip(b"\0")
            if not version or not all(part.isdigit() for part in version.split(b".")):
                yield f"min_runtime_version is {_text(version)!r}, not a version"


def _problems_of_ends(
    kind: str, entries: list[Any], indices: Any, graph: Any, wanted: SignatureRecord
) -> Iterator[str]:
    """The graph's own list of inputs or outputs, which an app without signatures goes by."""
    listed = [] if isinstance(indices, int) else [int(index) for index in indices]
    named = {entry.TensorIndex(): _text(entry.Name()) for entry in entries}
    if len(named) < len(entries):
        yield f"{kind}s of the signature share a tensor of the graph"
    if sorted(listed) != sorted(named):
        yield (
            f"{kind}s of the graph are the tensors {listed}, those of the signature are "
            f"{sorted(named)}"
        )
        return
    order = [spec.name for spec in getattr(wanted, f"{kind}s")]
    found = [named[index] for index in listed]
    if found != order and sorted(found) == sorted(order):
        yield f"{kind}s of the graph are in the order {', '.join(found)}, not {', '.join(order)}"
    for index, name in named.items():
        own = _text(graph.Tensors(index).Name())
        others = [other for other in order if other != name and _ends_in(own, other)]
        if others and not _ends_in(own, name):
            yield f"tensor of {kind} '{name}' is named '{own}', as if it were '{others[0]}'"


def _ends_in(own: str, name: str) -> bool:
    """Whether the converter's name of a tensor says that it is an input or output of a name."""
    return own.partition(":")[0].removesuffix("_output").endswith(f"_{name}")


def _problems_of_tensor(name: str, graph: Any, index: int, model: Any) -> Iterator[str]:
    """What an app is told of an input or output beside its shape and its dtype."""
    tensor = graph.Tensors(index)
    shape = [int(side) for side in tensor.ShapeAsNumpy()] if tensor.ShapeLength() else []
    if tensor.ShapeSignatureLength():
        signature = [int(side) for side in tensor.ShapeSignatureAsNumpy()]
        if signature != shape:
            yield f"shape of '{name}' is {shape} and its shape signature {signature}"
    quantization = tensor.Quantization()
    if quantization and (quantization.ScaleLength() or quantization.ZeroPointLength()):
        yield f"tensor '{name}' is described as quantized, the contract has plain numbers"
    if tensor.IsVariable():
        yield f"tensor '{name}' is described as a variable of the graph"
    if tensor.Sparsity():
        yield f"tensor '{name}' is described as sparse"
    if tensor.Buffer() >= model.BuffersLength() or model.Buffers(tensor.Buffer()).DataLength():
        yield f"tensor '{name}' is a constant of the file"


def _problems_of_makers(inputs: list[Any], outputs: list[Any], graph: Any) -> Iterator[str]:
    """Inputs that an operator of the graph writes, and outputs that none does."""
    written: set[int] = set()
    for place in range(graph.OperatorsLength()):
        operator = graph.Operators(place)
        written |= {operator.Outputs(i) for i in range(operator.OutputsLength())}
    for entry in inputs:
        if entry.TensorIndex() in written:
            yield f"input '{_text(entry.Name())}' is written by an operator of the graph"
    for entry in outputs:
        if entry.TensorIndex() not in written:
            yield f"output '{_text(entry.Name())}' is written by no operator of the graph"


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")
