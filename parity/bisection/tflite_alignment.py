"""Which node of the captured model each value of a TFLite file is.

The converter names a value after the modules around it, not after its node, and lays images out
with their channels last. Inside a module the ops are told by their kind and order.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from torch.export import ExportedProgram
from torch.fx import Node

from converters.layer_names import computing_nodes
from converters.tflite.names import FUSED, scope_of
from parity.bisection.alignment import Match, Matches, shape_of
from parity.bisection.engine import Engine, Operation, Value

PRODUCTS = ("linear", "matmul", "bmm")
"""A converter makes linear layers of products with constants, and products of linear layers."""

KINDS: dict[str, tuple[str, ...]] = {
    "CONV_2D": ("conv2d", "batch_norm"),
    "DEPTHWISE_CONV_2D": ("conv2d", "batch_norm"),
    "TRANSPOSE_CONV": ("conv_transpose2d",),
    "FULLY_CONNECTED": PRODUCTS,
    "BATCH_MATMUL": PRODUCTS,
    "GELU": ("gelu",),
    "RELU": ("relu",),
    "SOFTMAX": ("softmax",),
    "ADD": ("add",),
    "SUB": ("sub", "rsub"),
    "MUL": ("mul", "square"),
    "DIV": ("div",),
    "SQRT": ("sqrt",),
    "SIN": ("sin",),
    "COS": ("cos",),
    "ABS": ("abs",),
    "MEAN": ("mean",),
    "MAXIMUM": ("maximum",),
    "MINIMUM": ("minimum",),
    "PAD": ("pad",),
    "PADV2": ("pad",),
}
"""What each TFLite op does, in ATen's names. The ops that only move values are not told."""

CHANNELS_LAST = (0, 2, 3, 1)
IMAGES = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"})
"""Ops whose values have their channels last whatever the sizes."""


def module_of(label: str) -> str:
    """Attributes of the modules that a label begins with, joined by dots: ``image_encoder.neck.1``.

    A list of modules has no part in it, so it is not quite the module's path.
    """
    steps = (step.rpartition("_") for step in scope_of(label)[1:])
    return ".".join(end if end.isdigit() else start + bar + end for start, bar, end in steps)


def _scope_of(node: Node) -> tuple[str, ...]:
    """The modules around a node as :func:`scope_of` has those around a value."""
    parts = []
    for path, kind in (node.meta.get("nn_module_stack") or {}).values():
        named = kind.rpartition(".")[2] if isinstance(kind, str) else kind.__name__
        attribute = path.rpartition(".")[2] or "module"
        parts.append(f"{named}_{attribute}" if attribute.isdigit() else attribute)
    return tuple(parts)


def align_by_scope(
    engine: Engine, labels: Mapping[str, str], named: Mapping[str, Node], program: ExportedProgram
) -> Matches:
    """The matches of a file whose values are labelled with modules.

    Args:
        labels: of the values, by name.
        named: nodes of the inputs and outputs, by name.
    """
    found: Matches = {}
    for value in engine.inputs:
        _add(found, named[value.name], value)
    nodes: defaultdict[tuple[str, ...], list[Node]] = defaultdict(list)
    for node in computing_nodes(program):
        if shape_of(node) is not None:
            nodes[_scope_of(node)].append(node)
    inside: defaultdict[tuple[str, ...], list[Operation]] = defaultdict(list)
    for operation in engine.operations:
        inside[scope_of(labels[operation.name])].append(operation)
    paired = {
        operation.outputs[0].name: node
        for scope, operations in inside.items()
        for operation, node in _pairs(operations, labels, nodes[scope])
    }
    for operation in engine.operations:
        if (linear := _linear_of_bias(operation, labels, nodes)) is not None:
            paired.setdefault(operation.outputs[0].name, linear)
    for operation in engine.operations:
        for value in operation.outputs:
            if value.name in named:
                _add(found, named[value.name], value, operation)
            elif value.name in paired:
                _add(found, paired[value.name], value, operation)
    return found


def _pairs(
    operations: Sequence[Operation], labels: Mapping[str, str], nodes: Sequence[Node]
) -> Iterator[tuple[Operation, Node]]:
    """Ops and nodes of one module that are each other's."""
    for names in sorted(set(KINDS.values())):
        own = [op for op in operations if KINDS.get(op.op_type.partition("+")[0]) == names]
        theirs = [node for node in nodes if _kind(node) in names]
        if len(own) != len(theirs):
            continue
        for operation, node in zip(own, theirs, strict=True):
            activation = operation.op_type.partition("+")[2]
            given = _activated(node, activation)
            own_value = FUSED not in labels[operation.name] or names == KINDS["CONV_2D"]
            if given is not None and (activation or own_value):
                yield operation, given
    if [_kind(node) for node in nodes] == ["layer_norm"]:
        # Of many ops the last gives the layer's value. Those made one are layers after it, into
        # which its scale and shift may be folded: not the shift that an op of its own adds.
        own = [operation for operation in operations if FUSED not in labels[operation.name]]
        if own and (own[-1] is operations[-1] or _adds_constant(own[-1])):
            yield own[-1], nodes[0]


def _adds_constant(operation: Operation) -> bool:
    return operation.op_type == "ADD" and any(each.constant for each in operation.inputs)


def _linear_of_bias(
    operation: Operation,
    labels: Mapping[str, str],
    nodes: Mapping[tuple[str, ...], Sequence[Node]],
) -> Node | None:
    """The linear layer of which an op is, or the activation after it, told by the op's bias.

    The op itself may be called after a norm that was multiplied into its weights, or also after
    another op that takes a value of its own.
    """
    kind, _, activation = operation.op_type.partition("+")
    constants = [operand for operand in operation.inputs if operand.constant]
    if kind != "FULLY_CONNECTED" or len(constants) != 2:
        return None
    label = labels[constants[1].value.name]
    own = nodes.get(scope_of(label), ())
    if FUSED in label or [_kind(node) for node in own] != ["linear"]:
        return None
    return _activated(own[0], activation)


def _activated(node: Node, activation: str) -> Node | None:
    """The node, or the activation function after it, where an op has one fused; None if another."""
    if not activation:
        return node
    after = next(iter(node.users))
    return after if _kind(after) in KINDS.get(activation, ()) else None


def _kind(node: Node) -> str:
    return str(node.target).removeprefix("aten.").partition(".")[0]


def _add(found: Matches, node: Node, value: Value, operation: Operation | None = None) -> None:
    """Match a value with a node if the shapes agree, in the one layout in which they can.

    Where the sides allow both layouts, that of an input that both read decides, or else nothing.
    """
    shape = shape_of(node)
    sides = tuple(side for side in value.shape if side is not None)
    if shape is None or math.prod(shape) != math.prod(sides):
        return
    # Leading dimensions may be one in the file, and sides of 1 be added or dropped.
    ends = [[side for side in each if side != 1][-1:] for each in (shape, sides)]
    layouts: set[tuple[int, ...] | None] = {None} if ends[0] == ends[1] else set()
    if len(shape) == 4 and tuple(shape[i] for i in CHANNELS_LAST) == sides:
        layouts.add(CHANNELS_LAST)
    if len(layouts) == 2 and operation is not None:
        kind = operation.op_type.partition("+")[0]
        read = [found[o.value.name] for o in operation.inputs if o.value.name in found]
        layouts &= (
            {CHANNELS_LAST}
            if kind in IMAGES
            else {m.permutation for m in read if m.node in node.all_input_nodes}
        )
    if len(layouts) == 1:
        found[value.name] = Match(node, sides, layouts.pop())
