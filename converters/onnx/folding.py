"""What an ONNX program computes of constants alone, computed once and written as constants.

ONNX Runtime folds it at loading; OpenCV, tract and onnx2tf stop at some of it.
"""

from collections.abc import Container
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto


def fold(model: "ModelProto", kept: Container[str] = ()) -> None:
    """Replace, in place, every node whose inputs are all constants by its outputs.

    Args:
        model: its nodes in the order in which they are computed.
        kept: names of constants whose readers stay.
    """
    from onnx import helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    known = {constant.name: constant for constant in model.graph.initializer}
    stay = []
    for node in model.graph.node:
        inputs = [name for name in node.input if name]
        if any(name not in known or name in kept for name in inputs):
            stay.append(node)
            continue
        graph = helper.make_graph(
            [node],
            "constant",
            [],
            [helper.make_empty_tensor_value_info(name) for name in node.output],
            [known[name] for name in dict.fromkeys(inputs)],
        )
        alone = helper.make_model(
            graph, opset_imports=model.opset_import, ir_version=model.ir_version
        )
        values = ReferenceEvaluator(alone).run(None, {})
        for name, value in zip(node.output, values, strict=True):
            known[name] = numpy_helper.from_array(value, name)
    needed = {name for node in stay for name in node.input}
    needed.update(value.name for value in model.graph.output)
    constants = [constant for name, constant in known.items() if name in needed]
    declared = [value for value in model.graph.value_info if value.name not in known]
    del model.graph.initializer[:], model.graph.node[:], model.graph.value_info[:]
    model.graph.initializer.extend(constants)
    model.graph.node.extend(stay)
    model.graph.value_info.extend(declared)
