"""A saved Core ML package as an engine: :mod:`coreml_evaluator` with an observer."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch.export import ExportedProgram

from converters.layer_names import named
from coreml_evaluator import CoreMLProgram, Evaluation, TensorType
from mobilesam.runtimes.coreml import bundle_errors
from parity.bisection.alignment import Aligned, align_by_layer
from parity.bisection.engine import EvaluatedOp, Observer, Operation, OpInput, Value

_DTYPES = {"fp16": "float16", "fp32": "float32"}


def open_aligned(
    path: Path, program: ExportedProgram, outputs: Sequence[str], function: str | None = None
) -> Aligned:
    """A package, or one of its functions, beside the model, whose layers name its values."""
    engine = CoreMLEngine(path, function)
    layers = named(program)
    return Aligned(engine, align_by_layer(engine, layers, outputs), layers)


class CoreMLEngine:
    """The evaluator's view of a package; see :class:`parity.bisection.engine.Engine`."""

    copying = frozenset({"cast", "identity"})
    moving = frozenset({"reshape", "transpose"})

    def __init__(self, path: Path, function: str | None = None) -> None:
        with bundle_errors():
            self._program = CoreMLProgram(path, function)
        rounding = {"fp16": "float16, rounded after every op", "fp32": "float32"}
        self.title = f"Core ML evaluator in PyTorch ({rounding[self._program.precision]})"
        self.inputs = tuple(map(_value, self._program.inputs))
        self.operations = tuple(
            Operation(
                op.outputs[0].name,
                op.op_type,
                tuple(OpInput(_value(read.tensor), read.constant) for read in op.inputs),
                tuple(map(_value, op.outputs)),
            )
            for op in self._program.ops
        )

    def run(self, inputs: Mapping[str, np.ndarray], observe: Observer) -> None:
        def tell(evaluated: Evaluation) -> None:
            observe(EvaluatedOp(*evaluated))

        with bundle_errors():
            self._program.run(inputs, tell)


def _value(tensor: TensorType) -> Value:
    return Value(tensor.name, tensor.shape, _DTYPES.get(tensor.dtype, tensor.dtype))
