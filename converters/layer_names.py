"""Names that say where in the model a value was computed, for files that keep a value's name.

A value is called after the module that computed it and its node in the captured graph:
``image_encoder_layers_1_blocks_0_attn__softmax_2``. Xcode's performance report then shows layers,
and ``mobilesam bisect`` finds the PyTorch value that a value of the file should equal.
"""

import re
from functools import lru_cache

import torch
from torch.export import ExportedProgram
from torch.fx import Node


def module_path(node: Node) -> str:
    """Dotted path of the innermost module that computed a node; empty for the outermost."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return str(stack[-1][0]) if stack else ""


def layer_name(node: Node) -> str:
    """The name of a node's value, of letters, digits and underscores only."""
    return re.sub(r"\W", "_", f"{module_path(node)}__{node.name}".removeprefix("__"))


def computing_nodes(program: ExportedProgram) -> list[Node]:
    """The nodes that compute a value with an ATen op, in order."""
    return [node for node in program.graph.nodes if isinstance(node.target, torch._ops.OpOverload)]


@lru_cache(maxsize=2)  # takes seconds, and bisect asks for the same two programs again and again
def named(program: ExportedProgram) -> ExportedProgram:
    """The program in core ATen form, its nodes named after their layers.

    Outputs keep their names: the program's signature lists them.
    """
    program = program.run_decompositions({})
    outputs = {spec.arg.name for spec in program.graph_signature.output_specs}
    for node in computing_nodes(program):
        if node.name not in outputs:
            node._rename(layer_name(node))
    return program
