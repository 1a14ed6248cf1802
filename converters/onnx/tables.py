"""Large tables of an ONNX program, written as the little that they are made of.

Runtimes compute them once, at loading, and to the same values.
"""

from typing import TYPE_CHECKING

import numpy as np

from converters.base import Conversion
from converters.modules import DecoderModule
from converters.schemes import SMALL
from converters.tables import distinct_columns

if TYPE_CHECKING:
    from onnx import ModelProto

IMAGE_POSITION = "image_position"
"""The decoder's positional encoding of the image, 256 x S/16 x S/16."""


def shrink_tables(model: "ModelProto", job: Conversion) -> None:
    """Rewrite relative position biases and the image's positional encoding, in place.

    An expanded bias of heads x N x N has N distinct columns: it becomes their table and, shared by
    all blocks with windows of one size, an index of N x N bytes. The positional encoding becomes
    the sine and the cosine of what it is the sine and the cosine of.
    """
    _index_biases(model)
    if isinstance(job.module, DecoderModule):
        _compute_position(model, job.module)


def _index_biases(model: "ModelProto") -> None:
    from onnx import TensorProto, helper, numpy_helper

    added = {name for n in model.graph.node if n.op_type == "Add" for name in n.input}
    kept, nodes = [], []
    indices: dict[bytes, str] = {}
    for constant in model.graph.initializer:
        if constant.name not in added or len(constant.dims) != 3 or np.prod(constant.dims) <= SMALL:
            kept.append(constant)
            continue
        table, index = distinct_columns(numpy_helper.to_array(constant))
        if index.dtype != np.uint8:
            kept.append(constant)
            continue
        name = f"{constant.name}_table"
        kept.append(numpy_helper.from_array(table, name))
        where = index.tobytes()
        if where not in indices:
            indices[where] = f"relative_positions_{len(indices)}"
            stored = f"{indices[where]}_uint8"
            kept.append(numpy_helper.from_array(index, stored))
            nodes.append(
                helper.make_node(
                    "Cast", [stored], [indices[where]], indices[where], to=TensorProto.INT32
                )
            )
        nodes.append(
            helper.make_node(
                "Gather", [name, indices[where]], [constant.name], f"{constant.name}_rows", axis=1
            )
        )
    _replace(model, kept, nodes)


def _compute_position(model: "ModelProto", module: DecoderModule) -> None:
    from onnx import helper, numpy_helper

    grid = module.image_position.shape[-1]
    matrix = module.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix.numpy()
    centres = (2 * (np.arange(grid, dtype=np.float32) + np.float32(0.5)) / grid - 1).astype(
        np.float32
    )
    part = f"{IMAGE_POSITION}_{{}}".format
    kept = [c for c in model.graph.initializer if c.name != IMAGE_POSITION]
    if len(kept) == len(model.graph.initializer):
        return
    radians = (2 * np.pi * matrix).astype(np.float32)
    for name, array in {
        "per_x": radians[0].reshape(1, -1, 1, 1),
        "per_y": radians[1].reshape(1, -1, 1, 1),
        "x": centres.reshape(1, 1, 1, -1),
        "y": centres.reshape(1, 1, -1, 1),
    }.items():
        kept.append(numpy_helper.from_array(array, part(name)))
    nodes = [
        helper.make_node(kind, [part(i) for i in inputs], [part(output)], part(output))
        for kind, inputs, output in (
            ("Mul", ("per_x", "x"), "columns"),
            ("Mul", ("per_y", "y"), "rows"),
            ("Add", ("columns", "rows"), "phase"),
            ("Sin", ("phase",), "sine"),
            ("Cos", ("phase",), "cosine"),
        )
    ]
    both = [part("sine"), part("cosine")]
    nodes.append(helper.make_node("Concat", both, [IMAGE_POSITION], part("concat"), axis=1))
    _replace(model, kept, nodes)


def _replace(model: "ModelProto", constants: list, nodes: list) -> None:
    """Replace the graph's constants, and put nodes before all others."""
    nodes = [*nodes, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(constants)
    model.graph.node.extend(nodes)
