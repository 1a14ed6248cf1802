"""What an ONNX file says of itself: its graph's inputs and outputs, and what ONNX infers."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mobilesam.bundle.manifest import FileRecord, Manifest, TensorRecord
from mobilesam.bundle.tensors import declared_shape
from mobilesam.runtimes.checked import first_line
from parity.description.records import Description, Function, Tensor

DOMAINS = ("", "ai.onnx")
NEWEST_IR = 10
"""What the exporter writes where the operator set needs less."""

_PICTURE = "Image."
"""Begins the metadata by which Windows ML reads an input as a picture."""


def read(path: Path, record: FileRecord, manifest: Manifest) -> Description:
    """Read a file.

    Raises:
        DecodeError: of protobuf, it is damaged.
    """
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    problems = [*_problems(model, record, manifest)]
    signature = manifest.signatures[record.component]
    specs = {spec.name: spec for spec in (*signature.inputs, *signature.outputs)}
    try:
        onnx.checker.check_model(model, full_check=True)
        program = _inferred(model, specs)
    except Exception as error:  # checker and inference raise types of their own
        problems.append(f"file does not stand ONNX's own check: {first_line(error)}")
        program = None
    return Description(
        described=Function(_tensors(model.graph.input, specs), _tensors(model.graph.output, specs)),
        program=program,
        facts={entry.key: entry.value for entry in model.metadata_props},
        problems=tuple(problems),
        ordered=True,
    )


def _tensors(values: Any, specs: Mapping[str, TensorRecord]) -> tuple[Tensor, ...]:
    """What the graph says of its inputs or outputs.

    A side that may vary has a name there, and no sizes: it stands for those of the contract.
    """
    import onnx

    found = []
    for value in values:
        tensor = value.type.tensor_type
        kind = value.type.WhichOneof("value")
        known = kind == "tensor_type" and tensor.elem_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name if known else str(kind)
        shape = tuple(
            int(side.dim_value) if side.WhichOneof("value") == "dim_value" else None
            for side in tensor.shape.dim
        )
        spec = specs.get(value.name)
        as_agreed = spec is not None and shape == declared_shape(spec)
        shapes = spec.shapes if spec and as_agreed else (shape,)
        found.append(Tensor(value.name, dtype, shapes, value.doc_string))
    return tuple(found)


def _inferred(model: Any, specs: Mapping[str, TensorRecord]) -> Function:
    """The graph with every type inferred anew, from its inputs and its initializers alone."""
    import onnx

    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.graph.value_info[:]
    for value in bare.graph.output:
        value.type.tensor_type.ClearField("shape")
    made = onnx.shape_inference.infer_shapes(
        bare, check_type=True, strict_mode=True, data_prop=True
    )
    for value, own in zip(made.graph.output, model.graph.output, strict=True):
        if not value.type.tensor_type.HasField("shape"):  # not inferred: of its rank, any sides
            value.type.tensor_type.shape.dim.extend(
                onnx.TensorShapeProto.Dimension() for _ in own.type.tensor_type.shape.dim
            )
    return Function(_tensors(made.graph.input, specs), _tensors(made.graph.output, specs))


def _problems(model: Any, record: FileRecord, manifest: Manifest) -> Iterator[str]:
    graph = model.graph
    yield from _problems_of_versions(model, manifest)
    name = manifest.signatures[record.component].name
    if graph.name != name:
        yield f"graph is named '{graph.name}', the contract says '{name}'"
    constants = [*graph.initializer, *(each.values for each in graph.sparse_initializer)]
    named = [constant.name for constant in constants]
    kinds = {
        "input": [value.name for value in graph.input],
        "output": [value.name for value in graph.output],
        "initializer": named,
        "value info": [value.name for value in graph.value_info],
        "metadata": [entry.key for entry in model.metadata_props],
    }
    for kind, names in kinds.items():
        for twice in (name for name, count in Counter(names).items() if count > 1):
            yield f"{kind} '{twice}' is there more than once"
    for defaulted in sorted({*kinds["input"]} & {*named}):
        yield f"input '{defaulted}' has a default value, the contract needs it"
    made = {*kinds["input"], *named} | {n for node in graph.node for n in node.output}
    for unknown in sorted({*kinds["value info"]} - made):
        yield f"value info '{unknown}' is of no value of the graph"
    for outside in (c.name for c in constants if c.data_location == c.EXTERNAL or c.external_data):
        yield f"initializer '{outside}' lies in another file, whose digest nobody knows"
    if graph.quantization_annotation or model.functions or model.training_info:
        yield "file has quantization annotations, functions or training information of its own"
    for key in (k for k in kinds["metadata"] if k.startswith(_PICTURE)):
        yield f"metadata '{key}' describes a picture, the contract has tensors"
    yield from _problems_of_axes(graph, record, manifest)


def _problems_of_versions(model: Any, manifest: Manifest) -> Iterator[str]:
    """IR version and operator sets: those that the nodes use, each once, as the manifest says."""
    import onnx

    domains = [each.domain for each in model.opset_import]
    used = {node.domain for node in model.graph.node}
    for domain in dict.fromkeys(domains):
        if domains.count(domain) > 1:
            yield f"operator set '{domain}' is imported {domains.count(domain)} times"
        if domain not in used or domain not in DOMAINS:
            yield f"operator set '{domain}' is imported, the contract knows ONNX's own alone"
    for domain in sorted(used - {*DOMAINS}):
        yield f"nodes are of the operator set '{domain}', which is not ONNX's own"
    version = next((each.version for each in model.opset_import if each.domain in DOMAINS), 0)
    stated = manifest.options.get("opset")
    if str(version) != stated:
        yield f"opset is {version}, the manifest says {stated}"
    needed = next(
        (
            int(ir)
            for (domain, opset), ir in onnx.helper.OP_SET_ID_VERSION_MAP.items()
            if domain == "ai.onnx" and opset == version
        ),
        0,
    )
    if not needed:
        yield f"opset {version} is none that this version of onnx knows"
    elif not needed <= model.ir_version <= max(needed, NEWEST_IR):
        yield f"IR version is {model.ir_version}, opset {version} came with {needed}"


def _problems_of_axes(graph: Any, record: FileRecord, manifest: Manifest) -> Iterator[str]:
    """Names of axes and of types that are not the contract's."""
    signature = manifest.signatures[record.component]
    axes = {spec.name: spec.axes for spec in (*signature.inputs, *signature.outputs)}
    for value in (*graph.input, *graph.output):
        if value.type.denotation not in ("", "TENSOR"):
            yield f"'{value.name}' is denoted {value.type.denotation}, the contract has tensors"
        found = tuple(side.denotation for side in value.type.tensor_type.shape.dim)
        if any(found) and found != axes.get(value.name, found):
            yield (
                f"axes of '{value.name}' are denoted {', '.join(found)}, the contract says "
                f"{', '.join(axes[value.name])}"
            )
