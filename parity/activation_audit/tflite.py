"""Scales and zero points of the activations of a TFLite file."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from parity.activation_audit.activation import Activation, Layer, bounds_of
from parity.weight_audit.tflite import WEIGHTED, Graph, read_graph

_KEEPING = ("RESHAPE", "TRANSPOSE", "EXPAND_DIMS", "SQUEEZE")
"""Operations that keep the values of what they read first, and their scale."""

_DTYPES = {
    schema.TensorType.INT8: np.int8,
    schema.TensorType.UINT8: np.uint8,
    schema.TensorType.INT16: np.int16,
}
_CLAMPED = (
    schema.ActivationFunctionType.RELU,
    schema.ActivationFunctionType.RELU6,
)
_WEIGHT = 1


def read_activations(path: Path) -> Iterator[Activation]:
    """Every tensor with a scale that operations compute, with the layers beside it."""
    graph = read_graph(path)
    kept = _kept(graph)
    beside: defaultdict[int, list[Layer]] = defaultdict(list)
    for kind, step in zip(graph.kinds, graph.operators, strict=True):
        if kind in WEIGHTED:
            number = int(step.inputs[_WEIGHT])
            weight = f"{number}:{graph.label(number)}"
            options = step.builtinOptions
            clamped = getattr(options, "fusedActivationFunction", 0) in _CLAMPED
            read, made = int(step.inputs[WEIGHTED[kind]]), int(step.outputs[0])
            beside[kept.get(read, read)].append(Layer(weight, "input"))
            beside[kept.get(made, made)].append(Layer(weight, "output", clamped))
    for number, tensor in enumerate(graph.tensors):
        scale = graph.scale(number)
        if scale is None or number in graph.content or tensor.type not in _DTYPES:
            continue
        yield Activation(
            f"{number}:{graph.label(number)}",
            float(scale[0]),
            float(graph.zero_point(number)[0]),
            bounds_of(np.dtype(_DTYPES[tensor.type])),
            tuple(beside[kept.get(number, number)]),
        )


def _kept(graph: Graph) -> Mapping[int, int]:
    """For each tensor that only holds another's values: that other."""
    found: dict[int, int] = {}
    for kind, step in zip(graph.kinds, graph.operators, strict=True):
        if kind in _KEEPING:
            read = int(step.inputs[0])
            found[int(step.outputs[0])] = found.get(read, read)
    return found
