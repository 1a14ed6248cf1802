"""An ONNX file as an engine: ONNX Runtime, one node at a time."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import helper, numpy_helper
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

from coreml_evaluator.reading import quiet
from mobilesam.errors import BundleError
from mobilesam.runtimes.checked import first_line, version_of
from parity.bisection.alignment import Aligned, align, input_output_nodes, shape_of
from parity.bisection.engine import EvaluatedOp, Observer, Operation, OpInput, Value

_CAST = "_to_copy"
"""Begins the names of casts, which are numbered otherwise where there are more of them."""


def open_aligned(path: Path, program: ExportedProgram, outputs: Sequence[str]) -> Aligned:
    """A file beside the captured model.

    The exporter calls values after the nodes of the program as it has decomposed it for ONNX.
    """
    engine = ONNXEngine(path)
    decomposed = _decomposed(program)
    nodes: dict[str, Node] = {
        node.name: node
        for node in decomposed.graph.nodes
        if node.op == "call_function" and shape_of(node) is not None
    }
    nodes = {name: node for name, node in nodes.items() if not name.startswith(_CAST)}
    borders = input_output_nodes(decomposed, outputs)

    def node_of(value: Value, operation: Operation | None) -> Node | None:
        if value.name in borders:
            return borders[value.name]
        named, source = nodes.get(value.name), engine.sources.get(value.name)
        # A value whose name was taken, by a constant say, bears another node's.
        own = named is not None and source in (None, named.name, *map(str, named.all_input_nodes))
        return named if own else nodes.get(source or "")

    return Aligned(engine, align(engine, node_of), decomposed)


class ONNXEngine:
    """A graph of ONNX nodes, each run in a session of its own; no graph optimisation.

    See :class:`parity.bisection.engine.Engine`.

    Raises:
        BundleError: the file cannot be read.
    """

    copying = frozenset({"Cast", "Identity"})
    moving = frozenset({"Reshape", "Transpose"})

    def __init__(self, path: Path) -> None:
        try:
            model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
        except Exception as error:  # protobuf's errors and onnx's are of many types
            raise BundleError(
                f"{path} cannot be read by onnx ({first_line(error)}), export the bundle again"
            ) from error
        self._path = path
        graph = model.graph
        self.title = f"ONNX Runtime {version_of('onnxruntime')} (CPUExecutionProvider), by node"
        self._opsets, self._ir = model.opset_import, model.ir_version
        self._constants = {c.name: numpy_helper.to_array(c) for c in graph.initializer}
        self._types = {
            info.name: info.type.tensor_type
            for info in (*graph.input, *graph.value_info, *graph.output)
        }
        self._nodes = []
        for node in graph.node:
            if node.op_type == "Constant":
                (value,) = node.attribute
                self._constants[node.output[0]] = numpy_helper.to_array(value.t)
            else:
                self._nodes.append(node)
        self.inputs = tuple(self._value(i.name) for i in graph.input)
        self.operations = tuple(
            Operation(
                node.output[0],
                node.op_type,
                tuple(OpInput(self._value(n), n in self._constants) for n in _read(node)),
                tuple(self._value(n) for n in node.output if n),
                _scope(node),
            )
            for node in self._nodes
        )
        # An op of the model may become several nodes: the last of them gives its value.
        self.sources = {source: n.output[0] for n in self._nodes if (source := _source(n))}
        self.sources = {value: source for source, value in self.sources.items()}
        self._session = cache(self._open)

    def run(self, inputs: Mapping[str, np.ndarray], observe: Observer) -> None:
        values: dict[str, np.ndarray] = {**self._constants, **inputs}
        last = {name: place for place, node in enumerate(self._nodes) for name in _read(node)}
        for place, node in enumerate(self._nodes):
            read = _read(node)
            given = [values[name] for name in read]
            found = self._execute(place, given)
            values.update(zip((name for name in node.output if name), found, strict=True))

            def again(changed: Sequence[Tensor], place: int = place) -> list[Tensor]:
                arrays = [
                    tensor.numpy().astype(operand.value.dtype)
                    for tensor, operand in zip(changed, self.operations[place].inputs, strict=True)
                ]
                return _tensors(self._execute(place, arrays))

            observe(EvaluatedOp(place, tuple(_tensors(given)), tuple(_tensors(found)), again))
            for name in read:
                if last[name] == place and name not in self._constants:
                    del values[name]

    def _execute(self, place: int, given: Sequence[np.ndarray]) -> list[np.ndarray]:
        names = _read(self._nodes[place])
        found: list[np.ndarray] = self._session(place).run(
            None, dict(zip(names, given, strict=True))
        )
        return found

    def _open(self, place: int) -> ort.InferenceSession:
        """A model of this node alone, its constants inputs too."""
        node = self._nodes[place]
        operation = self.operations[place]
        graph = helper.make_graph(
            [node],
            "node",
            [_info(operand.value) for operand in operation.inputs],
            [_info(value) for value in operation.outputs],
        )
        model = helper.make_model(graph, opset_imports=self._opsets, ir_version=self._ir)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1  # a session for each node: threads of its own would add up
        options.log_severity_level = 3  # errors only
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        return ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def _value(self, name: str) -> Value:
        if name in self._constants:
            array = self._constants[name]
            return Value(name, array.shape, array.dtype.name)
        if name not in self._types:
            raise BundleError(f"{self._path} does not say what '{name}' is: export it again")
        found = self._types[name]
        sides = tuple(side.dim_value or None for side in found.shape.dim)
        return Value(name, sides, helper.tensor_dtype_to_np_dtype(found.elem_type).name)


def _read(node: onnx.NodeProto) -> list[str]:
    """Names of what a node reads, each once."""
    return [name for name in dict.fromkeys(node.input) if name]


def _info(value: Value) -> onnx.ValueInfoProto:
    dtype = helper.np_dtype_to_tensor_dtype(np.dtype(value.dtype))
    return helper.make_tensor_value_info(value.name, dtype, list(value.shape))


def _tensors(arrays: Iterable[np.ndarray]) -> list[Tensor]:
    """Float16 as float32; a session's own memory is copied, not kept."""
    return [
        torch.from_numpy(np.asarray(a, np.float32 if a.dtype == np.float16 else None).copy())
        for a in arrays
    ]


def _source(node: onnx.NodeProto) -> str:
    """Name of the captured node that the exporter made a node from, as it noted it."""
    scopes = _scopes(node)
    return scopes[-1] if scopes else ""


def _scope(node: onnx.NodeProto) -> str:
    """Path of the innermost module, which the exporter notes before the node's own name."""
    scopes = _scopes(node)
    return scopes[-2] if len(scopes) > 1 else ""


def _scopes(node: onnx.NodeProto) -> list[str]:
    for entry in node.metadata_props:
        if entry.key == "pkg.torch.onnx.name_scopes":
            return entry.value.strip("[]").replace("'", "").split(", ")
    return []


@lru_cache(maxsize=2)
def _decomposed(program: ExportedProgram) -> ExportedProgram:
    """The program as the exporter decomposes it, with the exporter's own table."""
    from torch.onnx._internal.exporter._fx_passes import decompose_with_registry
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    with quiet(), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return decompose_with_registry(program, ONNXRegistry.from_torchlib())
