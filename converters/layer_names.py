"""Names that say where in the model a value was computed, for files that keep a value's name.

A value is called after the module that computed it and its node in the captured graph:
``image_encoder_layers_1_blocks_0_attn__softmax_2``. Xcode's performance report then shows layers,
and ``mobilesam bisect`` finds the PyTorch value that a value of the file should equal.
"""

import re

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from mobilesam.errors import ExportError

_NOT_TRACED = ("aten::_assert_tensor_metadata",)


def module_path(node: Node) -> str:
    """Dotted path of the innermost module that computed a node; empty for the outermost."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return str(stack[-1][0]) if stack else ""


def layer_name(node: Node) -> str:
    """The name of a node's value, of letters, digits and underscores only."""
    return re.sub(r"\W", "_", f"{module_path(node)}__{node.name}".removeprefix("__"))


def computing_nodes(program: ExportedProgram) -> list[Node]:
    """The nodes that compute a value from others with an ATen op, in order."""
    return [
        node
        for node in program.graph.nodes
        if isinstance(node.target, torch._ops.OpOverload)
        and node.target._schema.name not in _NOT_TRACED
    ]


def name_values(graph: torch.Graph, program: ExportedProgram) -> None:
    """Give the values of a traced graph, in place, the names of the nodes they were traced from.

    Raises:
        ExportError: the trace is not the program, op for op.
    """
    nodes = computing_nodes(program)
    traced = [node for node in graph.nodes() if node.kind().startswith("aten::")]
    if len(traced) != len(nodes):
        raise ExportError(
            f"the trace has {len(traced)} ops but the captured program has {len(nodes)}"
        )
    for node, op in zip(nodes, traced, strict=True):
        outputs = list(op.outputs())
        if len(outputs) == 1:
            outputs[0].setDebugName(layer_name(node))
