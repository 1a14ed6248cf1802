"""Matrix products that coreai-torch 0.4.3 would change into other ones, written so that it cannot.

Of ``a @ b.reshape(K, H * W)`` its optimizer takes the reshape away and puts one behind the product,
whenever H happens to be as large as K: a batch of K products with matrices of H x W, and no error.
At image size 128 that is the decoder's last product, and all masks were wrong. ``(b' a')'`` is the
same product, with the reshaped operand on the left, where nothing is taken away.
"""

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from converters.base import capture
from mobilesam.bundle.tensors import Signature

_ATEN = torch.ops.aten
_PRODUCTS = (_ATEN.matmul.default, _ATEN.bmm.default)
_RESHAPES = (_ATEN.view.default, _ATEN.reshape.default, _ATEN.flatten.using_ints)
_NEUTRAL = (
    _ATEN.expand.default,
    _ATEN.unsqueeze.default,
    _ATEN.clone.default,
    _ATEN.contiguous.default,
)


def turned(
    program: ExportedProgram, inputs: tuple[Tensor, ...], signature: Signature
) -> ExportedProgram:
    """The program with each product turned whose right operand has its columns joined.

    Args:
        program: as torch.export captured it; not changed.
        inputs: its example.
        signature: of what it takes and gives.
    """
    module = program.module(check_guards=False)
    found = [node for node in module.graph.nodes if _joins_columns(node)]
    if not found:
        return program
    for node in found:
        _turn(module, node)
    module.recompile()
    return capture(module, inputs, signature)


def _joins_columns(node: Node) -> bool:
    """Whether a node is a product whose right operand is a reshape that alters the last side."""
    if node.target not in _PRODUCTS:
        return False
    operand = node.args[1]
    while isinstance(operand, Node) and operand.target in (*_RESHAPES, *_NEUTRAL):
        source = operand.args[0]
        if operand.target in _RESHAPES and isinstance(source, Node):
            if source.meta["val"].shape[-1] != operand.meta["val"].shape[-1]:
                return True
        operand = source
    return False


def _turn(module: GraphModule, node: Node) -> None:
    graph = module.graph
    left, right = node.args
    with graph.inserting_before(node):
        columns = graph.call_function(_ATEN.transpose.int, (right, -1, -2))
        rows = graph.call_function(_ATEN.transpose.int, (left, -1, -2))
        product = graph.call_function(_ATEN.matmul.default, (columns, rows))
        node.replace_all_uses_with(graph.call_function(_ATEN.transpose.int, (product, -1, -2)))
    graph.erase_node(node)
