"""Core ML through coremltools: an ML Program with float32 inputs and outputs, fully described."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock

from converters.base import AUTHOR, LICENCE, Conversion, Port
from converters.contract import CONTRACT_VERSION
from converters.coreml_compression import compress, require_ios
from mobilesam import __version__

if TYPE_CHECKING:
    from coremltools import PassPipeline
    from coremltools.converters.mil.mil import Operation
    from coremltools.models import MLModel

EXACT_INPUTS = frozenset({"point_coords", "valid_size"})
"""Positions in pixels. What is computed from them alone stays float32 in an fp16 program:
float16's eleven bits would move a point, and the phases of its positional encoding, visibly."""


def options(scheme: str, ios: int) -> dict[str, str]:
    """The lowest system the program runs on."""
    return {"minimum_deployment_target": f"iOS{ios}"}


def convert(job: Conversion) -> None:
    """Trace, convert, compress, describe, save.

    Raises:
        ExportError: the scheme needs a newer iOS than the job's.
    """
    require_ios(job.scheme, job.ios)
    model = compress(_float_program(job), job)
    _describe(model, job)
    model.save(str(job.path(".mlpackage")))


def _float_program(job: Conversion) -> "MLModel":
    """The program that is not compressed, converted once for all schemes of one export."""
    import coremltools as ct

    precision = "fp32" if job.scheme == "fp32" else "fp16"
    path = job.shared / f"{job.component}-{precision}-ios{job.ios}.mlpackage"
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            partial = path.with_name(f"partial-{path.name}")
            _converted(job, precision).save(str(partial))
            partial.rename(path)
    return ct.models.MLModel(str(path), skip_model_load=True)


def _converted(job: Conversion, precision: str) -> "MLModel":
    import coremltools as ct
    from coremltools.converters.mil.mil.passes.defs.quantization import FP16ComputePrecision

    return ct.convert(
        job.trace(),
        source="pytorch",
        convert_to="mlprogram",
        inputs=[
            ct.TensorType(name=spec.name, shape=spec.shape, dtype=np.float32)
            for spec in job.signature.inputs
        ],
        outputs=[ct.TensorType(name=spec.name, dtype=np.float32) for spec in job.signature.outputs],
        minimum_deployment_target=getattr(ct.target, f"iOS{job.ios}"),
        compute_precision=FP16ComputePrecision(op_selector=_HalfSelector())
        if precision == "fp16"
        else ct.precision.FLOAT32,
        pass_pipeline=_pipeline(),
        skip_model_load=True,
    )


def ports(path: Path, job: Conversion) -> tuple[Sequence[Port], Sequence[Port]]:
    """Inputs and outputs of the saved package's specification."""
    import coremltools as ct
    from coremltools.proto.FeatureTypes_pb2 import ArrayFeatureType

    description = ct.models.MLModel(str(path), skip_model_load=True).get_spec().description
    names = ArrayFeatureType.ArrayDataType.Name

    def read(features: Sequence) -> list[Port]:
        return [
            Port(
                feature.name,
                tuple(feature.type.multiArrayType.shape),
                names(feature.type.multiArrayType.dataType).lower(),
            )
            for feature in features
        ]

    return read(description.input), read(description.output)


def _pipeline() -> "PassPipeline":
    """Coremltools' passes, and before ops are copied to float16 one that keeps their names."""
    import coremltools as ct

    from converters.coreml_passes import NAME_OPS

    pipeline = ct.PassPipeline.DEFAULT
    pipeline.insert_pass(pipeline.passes.index("common::add_fp16_cast"), NAME_OPS)
    return pipeline


class _HalfSelector:
    """Says of each operation whether it may compute in float16."""

    def __init__(self) -> None:
        self._sources: dict[str, frozenset[str]] = {}

    def __call__(self, operation: "Operation") -> bool:
        sources = self._of(operation)
        return not sources or not sources <= EXACT_INPUTS

    def _of(self, operation: "Operation") -> frozenset[str]:
        """Names of the program's inputs an operation depends on.

        Asked in the program's order, so that its operands' sources are known already.
        """
        if operation.name not in self._sources:
            found: set[str] = set()
            for operand in operation.inputs.values():
                for variable in operand if isinstance(operand, list | tuple) else [operand]:
                    if variable is None:
                        continue
                    found |= {variable.name} if variable.op is None else self._of(variable.op)
            self._sources[operation.name] = frozenset(found)
        return self._sources[operation.name]


def _describe(model: "MLModel", job: Conversion) -> None:
    model.author = AUTHOR
    model.license = f"{LICENCE}; weights: {job.weights.licence}"
    model.version = __version__
    model.short_description = f"{job.title}, I/O contract {CONTRACT_VERSION}"
    for spec in job.signature.inputs:
        model.input_description[spec.name] = f"{spec.meaning} [{', '.join(spec.axes)}]"
    for spec in job.signature.outputs:
        model.output_description[spec.name] = f"{spec.meaning} [{', '.join(spec.axes)}]"
    model.user_defined_metadata.update(job.metadata)
