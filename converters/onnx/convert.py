"""ONNX through torch's dynamo exporter: one file, checked, every axis named."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from filelock import FileLock
from torch import nn

from converters.base import LICENCE, Conversion, TensorInfo, varying
from converters.half import to_half
from converters.kept import looked_up
from converters.long_sums import sum_by_rows
from converters.modules import DecoderModule, shorten
from converters.onnx.folding import fold
from converters.onnx.options import ONNXOptions, onnx_options
from converters.onnx.quantization import SCHEMES, quantize
from converters.onnx.sam_interface import speak_sam
from converters.onnx.tables import IMAGE_POSITION, shrink_tables
from converters.schemes import ONNX
from converters.spec import ExportSpec
from mobilesam import __version__
from mobilesam.bundle.tensors import declared_shape
from mobilesam.errors import ExportError
from mobilesam.files import write_whole

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

NOTES = ("pkg.torch.onnx.name_scopes",)
"""What is kept of the exporter's notes on each node: the layer it comes from. Its stack traces
would be a 20th of a quantized file, and tell the paths of the machine it was made on."""

ALLOWED_DOMAINS = ("", "ai.onnx")


Options = ONNXOptions


def settings(spec: ExportSpec) -> dict[str, str]:
    """The operator set."""
    return {"opset": str(onnx_options(spec).opset)}


def prepare(module: nn.Module, scheme: str) -> nn.Module:
    """Change a contract's module, in place, into the one that is converted."""
    _keep_by_lookup(module)
    shorten(module, ONNX, scheme)
    if scheme == "fp16":
        sum_by_rows(module)
    return module


def _keep_by_lookup(module: nn.Module) -> None:
    if isinstance(module, DecoderModule):
        module.keep = looked_up


def convert(job: Conversion) -> None:
    """Export, quantize if the scheme says so, document, check, save."""
    import onnx

    _keep_by_lookup(job.module)
    # Not tried with any number of points, which SAM's interface takes.
    if job.spec.contract.interface != "sam":
        shorten(job.module, ONNX, job.scheme)
    if job.scheme == "fp16":
        embedding = getattr(torch, job.spec.contract.embedding_type)
        model = _export(job, to_half(job.module, embedding))
    else:
        model = onnx.load(str(_float_file(job)))
    quantized = job.scheme in SCHEMES
    # There the table is written as what it is computed from.
    fold(model, kept=(IMAGE_POSITION,) if quantized else ())
    if quantized:
        shrink_tables(model, job)
        model = quantize(model, job)
    if job.spec.contract.interface == "sam":
        speak_sam(model, job.component, job.spec.contract)
    _document(model, job)
    onnx.checker.check_model(model, full_check=True)
    onnx.save_model(model, str(job.path(".onnx")), save_as_external_data=False)


def _float_file(job: Conversion) -> Path:
    """The float32 program, exported once for all schemes of one export that are of one module."""
    form = "float" if job.scheme in SCHEMES else job.scheme
    path = job.shared / f"{job.component}.{form}.onnx"
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            write_whole(path, _export(job, job.module).SerializeToString(deterministic=True))
    return path


def _export(job: Conversion, module: nn.Module) -> "ModelProto":
    program = torch.onnx.export(
        module,
        job.inputs,
        input_names=[spec.name for spec in job.own_signature.inputs],
        output_names=[spec.name for spec in job.own_signature.outputs],
        dynamic_shapes=varying(job.own_signature),
        opset_version=onnx_options(job.spec).opset,
        dynamo=True,
        optimize=True,
        external_data=False,
        verbose=False,
    )
    if program is None:
        raise ExportError(f"the ONNX exporter gave no program for the {job.component}")
    model: ModelProto = program.model_proto
    return model


def read_io(path: Path, job: Conversion) -> tuple[Sequence[TensorInfo], Sequence[TensorInfo]]:
    """Graph inputs and outputs; refuses operations outside ONNX's own set."""
    import onnx

    model = onnx.load(str(path))
    foreign = sorted({n.op_type for n in model.graph.node if n.domain not in ALLOWED_DOMAINS})
    if foreign:
        raise ExportError(f"{path.name} has operations that are not ONNX's: {', '.join(foreign)}")

    specs = {spec.name: spec for spec in (*job.signature.inputs, *job.signature.outputs)}

    def info(value: "ValueInfoProto") -> TensorInfo:
        tensor = value.type.tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
        shape = tuple(None if d.dim_param else d.dim_value for d in tensor.shape.dim)
        spec = specs.get(value.name)
        if spec is not None and shape == declared_shape(spec):
            return TensorInfo(value.name, spec.shape, dtype, spec.shapes)
        return TensorInfo(value.name, shape, dtype)

    return [info(v) for v in model.graph.input], [info(v) for v in model.graph.output]


def _document(model: "ModelProto", job: Conversion) -> None:
    """Descriptions, names of axes, versions, provenance; of the exporter's notes :data:`NOTES`."""
    from onnx.helper import find_min_ir_version_for

    for node in model.graph.node:
        notes = [entry for entry in node.metadata_props if entry.key in NOTES]
        del node.metadata_props[:]
        node.metadata_props.extend(notes)
    used = {node.domain for node in model.graph.node}
    opsets = [o for o in model.opset_import if o.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    model.ir_version = find_min_ir_version_for(opsets)
    model.producer_name = "mobilesam-export"
    model.producer_version = __version__
    model.doc_string = f"{job.title}. Licence of the weights: {job.spec.weights.licence}."
    model.graph.name = job.signature.name
    values = {v.name: v for v in (*model.graph.input, *model.graph.output)}
    for spec in (*job.signature.inputs, *job.signature.outputs):
        values[spec.name].doc_string = spec.meaning
        for dimension, axis in zip(
            values[spec.name].type.tensor_type.shape.dim, spec.axes, strict=True
        ):
            dimension.denotation = axis
    for name, text in {**job.metadata, "licence": LICENCE}.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = name, text
