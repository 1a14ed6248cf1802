"""Transpositions and reshapes that undo or follow each other in XNNPACK's graphs, made one or none.

Around every convolution the delegate turns channels last, and turns them back after it. Where the
graph itself has channels last, each of its own transpositions then meets one of the delegate's, and
the two, each a pass over all values, change nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from executorch.backends.xnnpack import xnnpack_preprocess
from executorch.backends.xnnpack.serialization.xnnpack_graph_schema import (
    XNNGraph,
    XNNStaticReshape,
    XNNStaticTranspose,
    XNode,
)

_SERIALIZE = "serialize_xnnpack_binary"


@contextmanager
def fewer_moves() -> Iterator[None]:
    """Within the block every graph that is lowered to XNNPACK is shortened before it is written."""
    write = getattr(xnnpack_preprocess, _SERIALIZE)

    def shortened(graph: XNNGraph, *rest: Any) -> bytes:
        shorten(graph)
        return write(graph, *rest)

    setattr(xnnpack_preprocess, _SERIALIZE, shortened)
    try:
        yield
    finally:
        setattr(xnnpack_preprocess, _SERIALIZE, write)


def shorten(graph: XNNGraph) -> None:
    """Change a graph, in place; its inputs, outputs and their values stay."""
    shapes = {value.id_out: list(value.dims) for value in map(_value, graph.xvalues)}
    makers: dict[int, Any] = {}
    same: dict[int, int] = {}
    kept = []
    for each in graph.xnodes:
        node = each.xnode_union
        _read_instead(node, same)
        if isinstance(node, XNNStaticTranspose | XNNStaticReshape):
            node = each.xnode_union = _joined(node, makers.get(node.input_id), shapes)
            moved = isinstance(node, XNNStaticTranspose) or (
                shapes[node.input_id] != shapes[node.output_id]
            )
            if not moved and node.output_id not in graph.output_ids:
                same[node.output_id] = node.input_id
                continue
            makers[node.output_id] = node
        kept.append(each)
    graph.xnodes = _used(kept, graph.output_ids)


def _value(value: Any) -> Any:
    """What a value says of its shape, rounded or not."""
    union = value.xvalue_union
    return getattr(union, "tensor_value", union)


def _inputs(node: Any) -> list[str]:
    """Names of the fields that hold numbers of values that a node reads."""
    names = [field.name for field in fields(node)]
    return [name for name in names if name.endswith("_id") and not name.startswith("output")]


def _read_instead(node: Any, same: dict[int, int]) -> None:
    for name in _inputs(node):
        number = getattr(node, name)
        setattr(node, name, same.get(number, number))


def _joined(node: Any, before: Any, shapes: dict[int, list[int]]) -> Any:
    """A move that does what a node and the move before it do; the node where there is none."""
    if isinstance(node, XNNStaticTranspose):
        if isinstance(before, XNNStaticTranspose):
            node.perm = [before.perm[axis] for axis in node.perm]
            node.input_id = before.input_id
        shape = shapes[node.input_id]
        long = [axis for axis in node.perm if shape[axis] != 1]
        if long != sorted(long):
            return node
        # Only axes of one element change places.
        node = _reshape(node, shapes)
    elif isinstance(before, XNNStaticReshape):
        node.input_id = before.input_id
    return node


def _reshape(node: Any, shapes: dict[int, list[int]]) -> XNNStaticReshape:
    shape = shapes[node.output_id]
    return XNNStaticReshape(
        num_dims=len(shape),
        new_shape=list(shape),
        input_id=node.input_id,
        output_id=node.output_id,
        flags=0,
    )


def _used(nodes: list[XNode], outputs: list[int]) -> list[XNode]:
    """The nodes but those moves whose results nothing reads."""
    read = set(outputs)
    kept = []
    for each in reversed(nodes):
        node = each.xnode_union
        is_move = isinstance(node, XNNStaticTranspose | XNNStaticReshape)
        if is_move and node.output_id not in read:
            continue
        read |= {getattr(node, name) for name in _inputs(node)}
        kept.append(each)
    return kept[::-1]
