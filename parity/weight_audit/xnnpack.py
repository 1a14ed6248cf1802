"""XNNPACK graphs inside an ExecuTorch program.

The flatbuffer is read by the positions of its fields, which its schema may add to but never change:
ExecuTorch itself reads it in C++ alone, and what ``flatc`` prints of it has six decimals.
Source: ``schema.fbs`` of executorch.backends.xnnpack.serialization.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from parity.flatbuffer import FlatTable, root_of

_FULLY_CONNECTED, _CONVOLUTIONS = 2, (7, 13, 39)
_MULTIPLY, _TRANSPOSE, _CONVERT, _RESHAPE, _SLICE = 15, 5, 18, 20, 35
_ATTRIBUTES_FIRST = {_TRANSPOSE: 2, 9: 2, 10: 3, _RESHAPE: 2, 25: 1, 29: 1, _SLICE: 3}
"""Operations of one input whose attributes come before it: how many."""

_CLAMPED = 3
"""Slot of a node's least and greatest value, where an activation was fused with it."""

_BINARY = (1, 8, 12, 15, 16, 26, 31, 37)
_CONCATENATIONS = (32, 33, 34, 38)
_DTYPES = {1: np.float32, 2: np.float16, 3: np.int8, 5: np.int32, 6: np.int8, 7: np.int32}
"""By XNNDatatype; the integers have scales."""


class Tensor(NamedTuple):
    """A value of a graph.

    Attributes:
        content: of a constant, in its own layout; None for what is computed.
        scale: broadcasts to ``content``; of an activation one number; None without one.
        zero_point: of an activation.
        external: position among the arguments of the call; -1 for a value of the graph's own.
    """

    content: np.ndarray | None
    scale: np.ndarray | None
    zero_point: int
    external: int


class Node(NamedTuple):
    """An operation.

    Attributes:
        kind: its number in the schema, and of a linear layer its flags: one turns the weight.
        inputs: numbers of the tensors that it reads; of a layer its input, weight and bias.
        output: number of the tensor that it writes.
        layer: whether it has a weight and a bias.
        multiplies: whether it multiplies its two inputs.
        reshapes: whether it gives what it reads another shape.
        keeps: whether it gives values that it reads, moved, rounded or made float again.
        clamped: whether it leaves nothing below zero.
        order: of the input's axes in what it writes, where it transposes; empty elsewhere.
    """

    kind: str
    inputs: tuple[int, ...]
    output: int
    layer: bool
    multiplies: bool
    reshapes: bool
    keeps: bool
    clamped: bool
    order: tuple[int, ...]


class XNNPACKGraph(NamedTuple):
    """Operations in the order in which they run, and tensors by number."""

    nodes: list[Node]
    tensors: dict[int, Tensor]


def read_graph(blob: bytes, named: Mapping[str, bytes]) -> XNNPACKGraph:
    """The graph of a delegate's blob.

    Args:
        blob: with XNNPACK's header.
        named: data of the program by key, where constants and scales may be.

    Raises:
        ValueError: the blob has no such header.
    """
    from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import XNNHeader

    header = XNNHeader.from_bytes(blob[: XNNHeader.EXPECTED_LENGTH])
    start = header.flatbuffer_offset
    content = blob[start : start + header.flatbuffer_size]
    graph = root_of(content)
    data = [b""]
    for each in graph.tables(8)[1:]:
        key, size = each.text(2), each.number(1, "Uint64")
        if key:
            data.append(named[key][:size])
        else:
            begin = header.constant_data_offset + each.number(0, "Uint64")
            data.append(blob[begin : begin + size])
    tensors = {}
    for value in graph.tables(2):
        number, tensor = _tensor(value.table(1), value.number(0, "Uint8") == 2, data)
        tensors[number] = tensor
    return XNNPACKGraph([_node(each) for each in graph.tables(1)], tensors)


def _tensor(value: FlatTable, quantized: bool, data: list[bytes]) -> tuple[int, Tensor]:
    """Number and tensor of a value."""
    base = value.table(0) if quantized else value
    datatype = base.number(0, "Int16")
    shape = [int(side) for side in base.numbers(2, "Uint32")]
    constant = base.number(3)
    content = None
    if constant and datatype in _DTYPES:
        values = np.frombuffer(data[constant], _DTYPES[datatype])
        content = values[: int(np.prod(shape, dtype=np.int64))].reshape(shape)
    scale, zero = None, 0
    kind = value.number(1, "Uint8") if quantized else 0
    if kind == 1:  # one scale for each index of an axis
        about = value.table(2)
        steps = about.numbers(0, "Float32")
        stored = about.number(2)
        if not steps.size and 0 < stored < len(data):
            steps = np.frombuffer(data[stored], np.float32)[: about.number(3)]
        axis = about.number(1, "Int32")
        sides = [-1 if each == axis else 1 for each in range(len(shape))]
        scale = steps.astype(np.float64).reshape(sides)
    elif kind == 2:
        about = value.table(2)
        scale, zero = np.asarray(about.real(0), np.float64), about.number(1, "Int32")
    flags = base.number(5)
    external = base.number(4) if flags & 3 else -1
    number = base.number(6)
    return number, Tensor(content, None if scale is None else np.asarray(scale), zero, external)


def _node(node: FlatTable) -> Node:
    kind, inside = node.number(0, "Uint8"), node.table(1)
    layer = kind == _FULLY_CONNECTED or kind in _CONVOLUTIONS
    slots: tuple[int, ...]
    if kind == _FULLY_CONNECTED:
        slots, output = (0, 1, 2), 3
    elif kind in _CONVOLUTIONS:
        slots, output = (15, 16, 17), 18
    elif kind in _BINARY:
        slots, output = (0, 1), 2
    elif kind in _CONCATENATIONS:
        slots, output = (1, 2, 3, 4, 7), 5
    else:
        slot = _ATTRIBUTES_FIRST.get(kind, 0)
        slots, output = (slot,), slot + 1
    inputs = tuple(inside.number(slot) for slot in slots)
    name = f"{kind} {inside.number(4)}" if kind == _FULLY_CONNECTED else str(kind)
    return Node(
        name,
        inputs,
        inside.number(output),
        layer,
        multiplies=kind == _MULTIPLY,
        reshapes=kind == _RESHAPE,
        keeps=kind in (_RESHAPE, _TRANSPOSE, _SLICE, _CONVERT),
        clamped=node.has(_CLAMPED) and node.table(_CLAMPED).real(0) >= 0,
        order=tuple(map(int, inside.numbers(1, "Uint32"))) if kind == _TRANSPOSE else (),
    )
