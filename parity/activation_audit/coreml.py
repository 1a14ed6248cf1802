"""Scales and zero points of the activations of a Core ML program."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from coreml_evaluator.ops import OPS
from coreml_evaluator.reading import quiet, read_function
from parity.activation_audit.activation import Activation, Layer, bounds_of

_LAYERS = ("conv", "conv_transpose", "linear")
_ROUNDING = ("quantize", "dequantize")
_KEEPING = ("reshape", "transpose", "expand_dims", "squeeze", "identity")


def read_activations(path: Path, function: str | None = None) -> Iterator[Activation]:
    """Every ``quantize`` and ``dequantize`` of what a program computes.

    Args:
        path: an ``.mlpackage``.
        function: name of the function in a package that has several.
    """
    with quiet():
        program = read_function(path, function or None, OPS).function
        beside: defaultdict[int, list[Layer]] = defaultdict(list)
        for operation in program.operations:
            if operation.op_type in _LAYERS:
                for step in _before(operation.inputs["x"]):
                    beside[id(step)].append(Layer(operation.inputs["weight"].name, "input"))
        for operation in program.operations:
            if operation.op_type in _ROUNDING:
                yield _activation(operation, tuple(beside[id(operation)]))


def _before(var: Any) -> Iterator[Any]:
    """The roundings that a value went through since it was computed."""
    while var.op is not None:
        if var.op.op_type in _ROUNDING:
            yield var.op
            var = var.op.inputs["input"]
        elif var.op.op_type in _KEEPING:
            var = var.op.inputs["x"]
        else:
            return


def _activation(operation: Any, layers: tuple[Layer, ...]) -> Activation:
    from coremltools.converters.mil.mil import types

    given = operation.inputs
    zero = given.get("zero_point")
    quantizes = operation.op_type == "quantize"
    whole = operation.outputs[0] if quantizes else given["input"]
    return Activation(
        operation.outputs[0].name,
        float(given["scale"].val),
        0.0 if zero is None else float(zero.val),
        bounds_of(np.dtype(types.nptype_from_builtin(whole.dtype))),
        layers,
    )
