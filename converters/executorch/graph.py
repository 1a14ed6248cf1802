"""The captured graph, written in operations that ExecuTorch hands to XNNPACK.

XNNPACK's delegate takes no layer norm, no mean over channels, no split and no product of tensors
with four axes; each would end a piece of the graph, and run on a kernel of ExecuTorch's own. The
same values come of operations that it takes.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

_ATEN = torch.ops.aten


def rewrite(module: GraphModule) -> None:
    """Change a captured graph, in place.

    Args:
        module: of an exported program, with the shapes of its values in the nodes' ``meta``.
    """
    for node in list(module.graph.nodes):
        change = _CHANGES.get(node.target)
        if change is not None:
            with module.graph.inserting_before(node):
                change(module, node)
    module.graph.eliminate_dead_code()
    module.recompile()


def _layer_norm(module: GraphModule, node: Any) -> None:
    """Deviations from the mean, over the root of their mean square.

    The mean of squares less the square of the mean would cost one pass over the values less, and
    lose every digit where the mean is large.
    """
    x, normalized, weight, bias, eps = (*node.args, None, None, 1e-5)[:5]
    if len(normalized) != 1:
        return
    graph = module.graph
    centred = _call(graph, _ATEN.sub.Tensor, (x, _mean(module, x, normalized[0])))
    square = _call(graph, _ATEN.mul.Tensor, (centred, centred))
    variance = _mean(module, square, normalized[0])
    stable = _call(graph, _ATEN.add.Tensor, (variance, eps))
    inverse = _call(graph, _ATEN.rsqrt.default, (stable,))
    result = _call(graph, _ATEN.mul.Tensor, (centred, inverse))
    if weight is not None:
        result = _call(graph, _ATEN.mul.Tensor, (result, weight))
    if bias is not None:
        result = _call(graph, _ATEN.add.Tensor, (result, bias))
    node.replace_all_uses_with(result)


def _channel_mean(module: GraphModule, node: Any) -> None:
    """A mean over the channels of BxCxHxW, as one over the last axis."""
    x, axes, keep = (*node.args, False)[:3]
    shape = x.meta["val"].shape
    if len(shape) != 4 or list(axes) != [1] or not keep:
        return
    graph = module.graph
    last = _call(graph, _ATEN.permute.default, (x, [0, 2, 3, 1]))
    mean = _mean(module, last, shape[1])
    node.replace_all_uses_with(_call(graph, _ATEN.permute.default, (mean, [0, 3, 1, 2])))


def _mean(module: GraphModule, x: Node, count: int) -> Node:
    """The mean over the last axis, of ``count`` values, as a product with a column of 1 / count."""
    graph, name = module.graph, f"mean_of_{count}"
    if not hasattr(module, name):
        module.register_buffer(name, torch.full((count, 1), 1 / count))
    column = graph.get_attr(name)
    column.meta["val"] = x.meta["val"].new_empty(count, 1)
    shape = list(x.meta["val"].shape)
    # Of two axes: more of them would be expanded first.
    made = _call(graph, _ATEN.mm.default, (_reshaped(graph, x, [-1, count]), column))
    return _reshaped(graph, made, [*shape[:-1], 1])


def _channels_last(module: GraphModule, node: Any) -> None:
    """BxCxHxW turned to BxHxWxC, of which the delegate must not think as of BxCxHxW again.

    It would keep all that follows in the order in which it has images, their last axis second.
    Once reshaped, values are in their own order.
    """
    if list(node.args[1]) != [0, 2, 3, 1]:
        return
    graph, shape = module.graph, list(node.meta["val"].shape)
    turned = _call(graph, _ATEN.permute.default, tuple(node.args))
    rows = _reshaped(graph, turned, [shape[0], shape[1] * shape[2], shape[3]])
    node.replace_all_uses_with(_reshaped(graph, rows, shape))


def _split(module: GraphModule, node: Any) -> None:
    """Slices."""
    x, width, axis = (*node.args, 0)[:3]
    for user in list(node.users):
        start = user.args[1] * width
        part = _call(module.graph, _ATEN.slice.Tensor, (x, axis, start, start + width))
        user.replace_all_uses_with(part)


def _product(module: GraphModule, node: Any) -> None:
    """A product of two tensors of four axes as one of three, which is not expanded first."""
    left, right = node.args
    shapes = [list(each.meta["val"].shape) for each in (left, right)]
    whole = list(node.meta["val"].shape)
    if {len(shape) for shape in shapes} != {4} or shapes[0][:2] != shapes[1][:2]:
        return
    graph = module.graph
    left = _scaled(graph, node, left)
    merged = [
        _reshaped(graph, each, [prod(shape[:2]), *shape[2:]])
        for each, shape in zip((left, right), shapes, strict=True)
    ]
    made = _call(graph, _ATEN.bmm.default, tuple(merged))
    node.replace_all_uses_with(_reshaped(graph, made, whole))


def _scaled(graph: Graph, product: Node, left: Node) -> Node:
    """The left operand, times the number that the product alone is multiplied by next.

    There are fewer queries than scores.
    """
    users = list(product.users)
    if len(users) != 1 or users[0].target is not _ATEN.mul.Tensor:
        return left
    scale = users[0].args[1]
    if not isinstance(scale, float) or product.meta["val"].numel() <= left.meta["val"].numel():
        return left
    users[0].replace_all_uses_with(product)
    return _call(graph, _ATEN.mul.Tensor, (left, scale))


def _reshaped(graph: Graph, x: Node, shape: list[int]) -> Node:
    return _call(graph, _ATEN.reshape.default, (x, shape))


def _call(graph: Graph, operation: Callable[..., Tensor], arguments: tuple[Any, ...]) -> Node:
    """A node, with the shape of its value."""
    node = graph.call_function(operation, arguments)
    values = [a.meta["val"] if isinstance(a, Node) else a for a in arguments]
    node.meta["val"] = operation(*values)
    return node


_CHANGES: dict[object, Callable[[GraphModule, Node], None]] = {
    _ATEN.layer_norm.default: _layer_norm,
    _ATEN.mean.dim: _channel_mean,
    _ATEN.permute.default: _channels_last,
    _ATEN.split.Tensor: _split,
    _ATEN.matmul.default: _product,
}
