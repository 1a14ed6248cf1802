"""Activations quantized with ranges that our evaluator measured, where Core ML does not run.

coremltools' own ``linear_quantize_activations`` calls ``MLModel.predict``, which only a Mac has,
and keeps the range of the last sample alone.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from converters.base import Conversion
from coreml_evaluator import CoreMLProgram, Evaluation
from mobilesam.errors import ExportError

if TYPE_CHECKING:
    from coremltools.models import MLModel


class Range(NamedTuple):
    """The least and the greatest value a tensor had."""

    low: float
    high: float


def activation_ranges(
    package: Path, samples: Iterable[Mapping[str, np.ndarray]]
) -> dict[str, Range]:
    """The range over all samples of every float that a program computes.

    Args:
        package: an ``.mlpackage`` with one function.
        samples: its inputs by name.

    Raises:
        ExportError: there is no sample, or a value is not finite.
    """
    found: dict[str, Range] = {}

    program = CoreMLProgram(package)

    def observe(evaluated: Evaluation) -> None:
        outputs = program.ops[evaluated.place].outputs
        for tensor, value in zip(outputs, evaluated.outputs, strict=True):
            if not value.is_floating_point():
                continue
            low, high = (float(bound) for bound in value.aminmax())
            if not np.isfinite([low, high]).all():
                raise ExportError(f"'{tensor.name}' of {package.name} is not finite on a sample")
            before = found.get(tensor.name, Range(low, high))
            found[tensor.name] = Range(min(before.low, low), max(before.high, high))

    for sample in samples:
        program.run(sample, observe)
    if not found:
        raise ExportError("there is no sample to calibrate on: give at least one photo")
    return found


def quantize_activations(model: "MLModel", job: Conversion) -> "MLModel":
    """The program with int8 inputs of ``conv`` and ``linear``, from ranges over the job's samples.

    Raises:
        ExportError: the job has no calibration, or a sample overflows.
    """
    from coremltools.models.utils import _apply_graph_pass

    from converters.coreml.passes import quantize_inputs

    if job.calibration is None:
        raise ExportError(f"scheme '{job.scheme}' needs photos to be calibrated on")
    ranges = activation_ranges(Path(model.package_path), job.calibration.samples(job.component))
    return _apply_graph_pass(model, quantize_inputs(ranges), skip_model_load=True)
