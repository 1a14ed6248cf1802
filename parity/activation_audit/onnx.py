"""Scales and zero points of the activations of an ONNX file."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from parity.activation_audit.activation import Activation, Layer, bounds_of

_LAYERS = ("MatMul", "Gemm", "Conv", "ConvTranspose")
_ROUNDING = ("QuantizeLinear", "DequantizeLinear")
_KEEPING = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity")
"""Ops that keep the values of what they read first."""


def read_activations(path: Path) -> Iterator[Activation]:
    """Every ``QuantizeLinear`` and ``DequantizeLinear`` of what a file computes."""
    graph = onnx.load(str(path)).graph
    constants = {c.name: numpy_helper.to_array(c) for c in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    beside: defaultdict[str, list[Layer]] = defaultdict(list)
    for node in graph.node:
        if node.op_type in _LAYERS:
            for step in _before(node.input[0], makers):
                beside[step.output[0]].append(Layer(node.input[1], "input"))
    for node in graph.node:
        if node.op_type in _ROUNDING and node.input[0] not in constants:
            scale, *zeros = (constants[name] for name in node.input[1:])
            zero = zeros[0] if zeros else np.zeros((), np.uint8)
            bounds = bounds_of(zero.dtype)
            layers = tuple(beside[node.output[0]])
            yield Activation(node.name, float(scale), float(zero), bounds, layers)


def _before(name: str, makers: Mapping[str, onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The roundings that a value went through since it was computed."""
    while name in makers:
        node = makers[name]
        if node.op_type in _ROUNDING:
            yield node
        elif node.op_type not in _KEEPING:
            return
        name = node.input[0]
