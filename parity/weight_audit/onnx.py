"""Constants of an ONNX file, with what its nodes compute from constants alone."""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from mobilesam.errors import BundleError
from mobilesam.runtimes.checked import first_line
from parity.weight_audit.constants import Constant, half_ulp

SCOPES = "pkg.torch.onnx.name_scopes"
"""The exporter's note of the modules around a node."""

MOVING = frozenset(
    {
        "Cast",
        "Concat",
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "Reshape",
        "Slice",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
"""Ops that only move values, and so what rounding may have done to them."""


class _Known(NamedTuple):
    """A constant, and the largest error that its storage may have caused."""

    values: np.ndarray
    rounding: np.ndarray


def read_constants(path: Path) -> list[Constant]:
    """The floating-point constants that a file's nodes compute with.

    Raises:
        BundleError: the file cannot be read.
    """
    try:
        model = onnx.load(str(path))
        return _Reader(model).read()
    except Exception as error:  # protobuf's errors and onnx's are of many types
        raise BundleError(
            f"the constants of {path} cannot be read ({first_line(error)}), export the bundle again"
        ) from error


class _Reader:
    def __init__(self, model: onnx.ModelProto) -> None:
        self._opsets = model.opset_import
        self._graph = model.graph
        given = {c.name: numpy_helper.to_array(c) for c in model.graph.initializer}
        # A model made float16 has norms in float32, of parameters that were rounded before.
        halves = any(values.dtype == np.float16 for values in given.values())
        self._known = {name: _stored(values, halves) for name, values in given.items()}
        self._found: list[Constant] = []
        self._taken: set[str] = set()
        self._readers = {name: node for node in model.graph.node for name in node.input}
        self._makers = {name: node for node in model.graph.node for name in node.output}

    def read(self) -> list[Constant]:
        for place, node in enumerate(self._graph.node):
            if node.op_type == "Constant":
                value = helper.get_attribute_value(node.attribute[0])
                array = numpy_helper.to_array(value) if hasattr(value, "dims") else value
                self._known[node.output[0]] = _stored(np.asarray(array))
            elif node.input and all(name in self._known for name in node.input if name):
                self._fold(node)
            else:
                self._collect(node, place)
        return self._found

    def _fold(self, node: onnx.NodeProto) -> None:
        """What a node makes of constants becomes a constant, with bounds of its error."""
        given = {name: self._known[name] for name in node.input if name}
        values = {name: known.values for name, known in given.items()}
        names = [name for name in node.input if name]
        (made,) = self._run(node, values)
        if node.op_type in MOVING:
            # What says where values go (an index, a shape) is integer, and stays as it is.
            moved = {
                name: np.broadcast_to(known.rounding, known.values.shape)
                if index == 0 or node.op_type == "Concat"
                else known.values
                for index, (name, known) in enumerate(given.items())
            }
            (rounding,) = self._run(node, moved)
        elif node.op_type == "Mul":
            left, right = (given[name] for name in names)
            rounding = left.rounding * np.abs(right.values) + right.rounding * np.abs(left.values)
        elif node.op_type == "DequantizeLinear":
            # A step is as large as its scale, in the same place.
            ones = np.ones_like(values[names[0]])
            plain = {**values, names[0]: ones}
            if len(names) > 2:
                plain[names[2]] = np.zeros_like(values[names[2]])
            rounding = self._run(node, plain)[0] / 2
        else:
            rounding = np.zeros(1)
        self._known[node.output[0]] = _Known(made, np.asarray(rounding, np.float32))

    def _run(self, node: onnx.NodeProto, values: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """One node alone, by onnx's own definition of it."""
        dtypes = {name: helper.np_dtype_to_tensor_dtype(v.dtype) for name, v in values.items()}
        graph = helper.make_graph(
            [node],
            "node",
            [helper.make_tensor_value_info(n, dtypes[n], v.shape) for n, v in values.items()],
            [helper.make_empty_tensor_value_info(name) for name in node.output],
        )
        model = helper.make_model(graph, opset_imports=self._opsets)
        found: list[np.ndarray] = ReferenceEvaluator(model).run(None, dict(values))
        return found

    def _collect(self, node: onnx.NodeProto, place: int) -> None:
        label = _label(node)
        if node.op_type == "MatMulInteger" and node.input[1] in self._known:
            self._add(self._whole_weight(node), node.input[1], place, label, "MatMulInteger 1")
            return
        turned = [str(each.i) for each in node.attribute if each.name in ("transA", "transB")]
        for position, name in enumerate(node.input):
            if name in self._known and self._known[name].values.dtype.kind == "f":
                reader = " ".join([node.op_type, str(position), *turned])
                self._add(self._known[name], name, place, label, reader)

    def _add(self, known: _Known, name: str, place: int, label: str, reader: str) -> None:
        if name not in self._taken:
            self._taken.add(name)
            values = known.values.astype(np.float32)
            # The exporter folds norms after the model was made float16.
            half = known.values.dtype == np.float16
            made = Constant(
                name, values, known.rounding, place, label, folded_in_half=half, reader=reader
            )
            self._found.append(made)

    def _whole_weight(self, node: onnx.NodeProto) -> _Known:
        """The weight of a product of integers, whose scale is multiplied in after the product.

        The result is cast to float and multiplied by the product of the input's scale, which is
        found at each run, and the weight's.
        """
        weight = self._known[node.input[1]].values.astype(np.float32)
        if len(node.input) > 3:
            weight = weight - self._known[node.input[3]].values.astype(np.float32)
        cast = self._readers[node.output[0]]
        product = self._readers[cast.output[0]]
        makers = [self._makers[name] for name in product.input if name in self._makers]
        scales = [n for maker in makers for n in maker.input if n in self._known]
        (scale,) = (self._known[name].values for name in scales)
        return _Known(weight * scale, np.asarray(scale / 2, np.float32))


def _stored(values: np.ndarray, halves: bool = False) -> _Known:
    """A constant as the file holds it: an int8 is a weight, exact to half a step.

    Args:
        values: as stored.
        halves: whether float32 may have been float16 before, which is seen in the values.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = halves and np.array_equal(values, values.astype(np.float16))
    if values.dtype == np.float16 or (values.dtype == np.float32 and rounded):
        return _Known(values, half_ulp(values))
    error = 0.5 if values.dtype == np.int8 else 0.0
    return _Known(values, np.full((1,) * values.ndim, error, np.float32))


def _label(node: onnx.NodeProto) -> str:
    """Path of the module around a node; empty if the file does not say."""
    for note in node.metadata_props:
        if note.key == SCOPES:
            scopes: list[str] = ast.literal_eval(note.value)
            return scopes[-2] if len(scopes) > 1 else ""
    return ""
