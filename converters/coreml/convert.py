"""Core ML through coremltools: an ML Program with the contract's inputs and outputs, described."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock
from torch import nn

from converters.base import Conversion, TensorInfo
from converters.coreml.compression import compress
from converters.coreml.options import CoreMLOptions, coreml_options
from converters.coreml.package import describe, merge, save
from converters.coreml.precision import HalfSelector
from converters.coreml.safe_norm import scale_norms
from converters.layer_names import named
from converters.spec import ExportSpec
from coreml_evaluator.interface import flexible_of
from mobilesam.bundle.manifest import FileRecord
from mobilesam.bundle.tensors import SLOT_AXIS

if TYPE_CHECKING:
    from coremltools import PassPipeline
    from coremltools.models import MLModel

CAST = "common::add_fp16_cast"
"""The pass that makes a program float16."""

IMAGE = "image"
"""The input that can be a pixel buffer."""


Options = CoreMLOptions


def settings(spec: ExportSpec) -> dict[str, str]:
    """The lowest system the program runs on, and what else was chosen.

    Raises:
        InputError: the scheme or an option needs a newer system than was asked for.
    """
    options = coreml_options(spec)
    target = options.deployment_target(spec.scheme)
    chosen = options.model_dump(exclude={"ios"})
    return {"minimum_deployment_target": f"iOS{target}", **chosen}


def computes_in_half(scheme: str) -> bool:
    """Whether a scheme's programs compute in float16."""
    return scheme != "fp32"


def prepare(module: nn.Module, scheme: str) -> nn.Module:
    """Change a contract's module, in place, into the one that is converted."""
    return scale_norms(module) if computes_in_half(scheme) else module


def convert(job: Conversion) -> None:
    """Convert, compress, describe, save."""
    model = compress(_float_program(job), job)
    describe(model, job)
    save(model, job.path(".mlpackage"))


def _float_program(job: Conversion) -> "MLModel":
    """The program that is not compressed, converted once for all schemes of one export."""
    import coremltools as ct

    precision = "fp16" if computes_in_half(job.scheme) else "fp32"
    system = coreml_options(job.spec).deployment_target(job.scheme)
    path = job.shared / f"{job.component}-{precision}-ios{system}.mlpackage"
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            partial = path.with_name(f"partial-{path.name}")
            save(_converted(job, system), partial)
            partial.rename(path)
    return ct.models.MLModel(str(path), skip_model_load=True)


def _converted(job: Conversion, system: int) -> "MLModel":
    import coremltools as ct
    from coremltools.converters.mil.mil.passes.defs.quantization import FP16ComputePrecision

    prepare(job.module, job.scheme)
    resizes = job.spec.contract.photo_size is not None
    return ct.convert(
        named(job.program),
        source="pytorch",
        convert_to="mlprogram",
        inputs=_inputs(job),
        outputs=[
            ct.TensorType(name=spec.name, dtype=np.dtype(spec.dtype).type)
            for spec in job.signature.outputs
        ],
        minimum_deployment_target=getattr(ct.target, f"iOS{system}"),
        compute_precision=FP16ComputePrecision(op_selector=HalfSelector(resizes))
        if computes_in_half(job.scheme)
        else ct.precision.FLOAT32,
        pass_pipeline=_pipeline(),
        skip_model_load=True,
    )


def read_io(path: Path, job: Conversion) -> tuple[Sequence[TensorInfo], Sequence[TensorInfo]]:
    """Inputs and outputs of the saved package's specification."""
    import coremltools as ct

    description = ct.models.MLModel(str(path), skip_model_load=True).get_spec().description
    inputs = [_info(feature) for feature in description.input]
    return inputs, [_info(feature) for feature in description.output]


def package(jobs: Sequence[Conversion], records: Sequence[FileRecord]) -> list[FileRecord]:
    """Both components in one package, if that was asked for."""
    if coreml_options(jobs[0].spec).package == "multifunction":
        return merge(jobs, records)
    return list(records)


def _inputs(job: Conversion) -> list[Any]:
    """The inputs as coremltools declares them."""
    import coremltools as ct

    options = coreml_options(job.spec)
    counts = next((spec.slot_counts for spec in job.signature.inputs if spec.slot_counts), ())
    # One object, so that the sizes of points and labels are the same symbol. The Neural Engine
    # runs a RangeDim at its default size only: let that be K.
    sides = ct.RangeDim(counts[0], counts[-1], default=counts[-1]) if counts else None
    declared: list[Any] = []
    for spec in job.signature.inputs:
        shape: Any = spec.shape
        if spec.name == IMAGE and options.input == "image":
            # Neither scale nor bias: the graph has a standard deviation for each channel.
            declared.append(
                ct.ImageType(name=spec.name, shape=shape, color_layout=ct.colorlayout.RGB)
            )
            continue
        if spec.slot_counts and options.slots == "enumerated":
            shape = ct.EnumeratedShapes(spec.shapes, default=spec.shape)
        elif spec.slot_counts:
            shape = tuple(
                sides if axis == SLOT_AXIS else side
                for axis, side in zip(spec.axes, spec.shape, strict=True)
            )
        declared.append(ct.TensorType(name=spec.name, shape=shape, dtype=np.dtype(spec.dtype).type))
    return declared


def _info(feature: Any) -> TensorInfo:
    """A described input or output; an image as the tensor that the graph sees."""
    from coremltools.proto.FeatureTypes_pb2 import ArrayFeatureType, ImageFeatureType

    kind = feature.type.WhichOneof("Type")
    if kind == "imageType":
        image = feature.type.imageType
        if image.colorSpace != ImageFeatureType.RGB:
            return TensorInfo(feature.name, None, "grey or BGR image")
        return TensorInfo(feature.name, (1, 3, image.height, image.width), "float32")
    array = feature.type.multiArrayType
    dtype = ArrayFeatureType.ArrayDataType.Name(array.dataType).lower()
    flexible = flexible_of(array)
    return TensorInfo(feature.name, tuple(array.shape), dtype, flexible and flexible.every())


def _pipeline() -> "PassPipeline":
    """Coremltools' passes, and one of ours that names ops before they are copied to float16."""
    import coremltools as ct

    from converters.coreml.passes import NAME_OPS

    pipeline = ct.PassPipeline.DEFAULT
    pipeline.insert_pass(pipeline.passes.index(CAST), NAME_OPS)
    return pipeline


def half_pipeline() -> "PassPipeline":
    """Passes that make a program float16 as this target does, for a converter that takes nothing
    but their names; it has to be told float32.
    """
    from converters.coreml.passes import HALF

    pipeline = _pipeline()
    pipeline.passes = [HALF if name == CAST else name for name in pipeline.passes]
    return pipeline
