"""A TFLite file as an engine: LiteRT's built-in kernels, no delegate."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from flatbuffers import Builder
from torch import Tensor
from torch.export import ExportedProgram

from mobilesam.errors import BundleError
from mobilesam.runtimes.checked import first_line, version_of
from parity.bisection.alignment import Aligned, input_output_nodes
from parity.bisection.engine import EvaluatedOp, Observer, Operation, OpInput, Value
from parity.bisection.tflite_alignment import align_by_scope, module_of

_OPS = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
_DTYPES = {
    code: "bool" if name == "BOOL" else name.lower()
    for name, code in vars(schema.TensorType).items()
    if name in ("FLOAT16", "FLOAT32", "INT8", "INT16", "INT32", "INT64", "UINT8", "BOOL")
}
_NO_ACTIVATION = schema.ActivationFunctionType.NONE

_ACTIVATIONS = {
    code: name for name, code in vars(schema.ActivationFunctionType).items() if name.isupper()
}


def open_aligned(path: Path, program: ExportedProgram, outputs: Sequence[str]) -> Aligned:
    """A file beside the captured model, whose modules name its values."""
    engine = TFLiteEngine(path)
    matches = align_by_scope(engine, engine.labels, input_output_nodes(program, outputs), program)
    return Aligned(engine, matches, program)


class TFLiteEngine:
    """One subgraph of TFLite ops; see :class:`parity.bisection.engine.Engine`.

    A value is named after its tensor's number and the module that it is in.

    Attributes:
        labels: what the file itself calls each value.

    Raises:
        BundleError: the file cannot be read.
    """

    copying = frozenset({"CAST", "QUANTIZE"})
    moving = frozenset({"RESHAPE", "TRANSPOSE"})

    def __init__(self, path: Path) -> None:
        content = path.read_bytes()
        try:
            self._model = schema.ModelT.InitFromPackedBuf(content, 0)
            (self._graph,) = self._model.subgraphs
            (signature,) = self._model.signatureDefs
        except Exception as error:  # whatever a damaged flatbuffer makes of its reader
            raise BundleError(
                f"{path} cannot be read as TFLite ({first_line(error)}), export the bundle again"
            ) from error
        self.title = f"LiteRT {version_of('ai-edge-litert')} (built-in kernels)"
        if any(map(_is_rounded, self._graph.tensors)):
            raise BundleError(
                f"{path} computes with integers (int4 weights, or int8 or int16 activations), and "
                "bisect compares float values: judge it with `mobilesam parity`, and see which "
                "layers bear it with `mobilesam sensitivity`"
            )
        self._content = content
        self._io_names = {tensor.tensorIndex: tensor.name.decode() for tensor in signature.inputs}
        self._io_names |= {tensor.tensorIndex: tensor.name.decode() for tensor in signature.outputs}
        self._constants: dict[int, np.ndarray] = {
            place: _data(self._model.buffers[tensor.buffer].data, tensor)
            for place, tensor in enumerate(self._graph.tensors)
            if self._model.buffers[tensor.buffer].data is not None
        }
        self._stored: dict[int, str] = {}
        self.labels: dict[str, str] = {}
        self._steps = []
        for step in self._graph.operators:
            if all(place in self._constants for place in _read(step)):
                self._fold(step)
            else:
                self._steps.append(step)
        self.inputs = tuple(self._value(tensor.tensorIndex) for tensor in signature.inputs)
        self.operations = tuple(
            Operation(
                self._value(step.outputs[0]).name,
                self._op_type(step) + self._activation(step),
                tuple(OpInput(self._value(i), i in self._constants) for i in _read(step)),
                tuple(map(self._value, step.outputs)),
                module_of(self._graph.tensors[step.outputs[0]].name.decode()),
            )
            for step in self._steps
        )

    def run(self, inputs: Mapping[str, np.ndarray], observe: Observer) -> None:
        interpreter = _interpreter(self._content)
        for place in self._graph.inputs:
            interpreter.set_tensor(int(place), inputs[self._io_names[int(place)]])
        interpreter.invoke()

        def tensor(place: int) -> Tensor:
            if place in self._constants:
                return _tensor(self._constants[place])
            return _tensor(interpreter.get_tensor(place))

        for number, step in enumerate(self._steps):

            def again(changed: Sequence[Tensor], step: Any = step) -> list[Tensor]:
                return self._execute(step, dict(zip(_read(step), changed, strict=True)))

            given = tuple(map(tensor, _read(step)))
            observe(EvaluatedOp(number, given, tuple(map(tensor, step.outputs)), again))

    def _fold(self, step: Any) -> None:
        """Keep what an op makes of constants as constants, with the precision they were stored in.

        So weights are unpacked: those of float16 are not exact to more digits than float16 has.
        """
        given = {place: _tensor(self._constants[place]) for place in _read(step)}
        halves = any(self._value(place).dtype == "float16" for place in given)
        for place, value in zip(map(int, step.outputs), self._execute(step, given), strict=True):
            self._constants[place] = value.numpy()
            if halves:
                self._stored[place] = "float16"

    def _execute(self, step: Any, given: Mapping[int, Tensor]) -> list[Tensor]:
        """Run one op alone: constants are constants of its model, what else it reads its inputs."""
        fed = [place for place in given if place not in self._constants]
        places = list(dict.fromkeys([*given, *map(int, step.outputs)]))
        numbers = {place: number for number, place in enumerate(places)} | {-1: -1}
        model, graph, op = schema.ModelT(), schema.SubGraphT(), schema.OperatorT()
        model.version = self._model.version
        model.operatorCodes = [self._model.operatorCodes[step.opcodeIndex]]
        model.buffers = [schema.BufferT()]
        graph.tensors = []
        for place in places:
            tensor = schema.TensorT()
            vars(tensor).update(vars(self._graph.tensors[place]))
            tensor.buffer = 0
            if place in self._constants and place in given:
                tensor.buffer = len(model.buffers)
                model.buffers.append(schema.BufferT())
                model.buffers[-1].data = self._array(place, given[place]).reshape(-1).view(np.uint8)
            graph.tensors.append(tensor)
        vars(op).update(vars(step))
        op.opcodeIndex = 0
        op.inputs = [numbers[int(place)] for place in step.inputs]
        op.outputs = [numbers[int(place)] for place in step.outputs]
        graph.operators = [op]
        graph.inputs, graph.outputs = [numbers[place] for place in fed], op.outputs
        model.subgraphs = [graph]
        builder = Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        interpreter = _interpreter(bytes(builder.Output()))
        for place in fed:
            interpreter.set_tensor(numbers[place], self._array(place, given[place]))
        interpreter.invoke()
        return [_tensor(interpreter.get_tensor(numbers[int(place)])) for place in step.outputs]

    def _array(self, place: int, value: Tensor) -> np.ndarray:
        """A value as the file's tensor holds it."""
        dtype = _DTYPES[self._graph.tensors[place].type]
        return np.ascontiguousarray(value.numpy().astype(dtype))

    def _op_type(self, step: Any) -> str:
        code = self._model.operatorCodes[step.opcodeIndex]
        # Codes above 127 do not fit the older of the two fields.
        return _OPS[max(code.builtinCode, code.deprecatedBuiltinCode)]

    def _activation(self, step: Any) -> str:
        """The activation function fused into an op, such as ``+RELU``; empty if there is none."""
        code = getattr(step.builtinOptions, "fusedActivationFunction", _NO_ACTIVATION)
        return "" if code == _NO_ACTIVATION else f"+{_ACTIVATIONS[code]}"

    def _value(self, place: int) -> Value:
        tensor = self._graph.tensors[place]
        label = tensor.name.decode()
        name = self._io_names.get(int(place)) or f"{place}:{module_of(label)}".rstrip(":")
        self.labels[name] = label
        dtype = self._stored.get(int(place)) or _DTYPES.get(tensor.type, "other")
        return Value(name, tuple(int(side) for side in _shape(tensor)), dtype)


def _is_rounded(tensor: Any) -> bool:
    """Whether a tensor has four bits, or is an activation that is quantized to integers."""
    if tensor.type == schema.TensorType.INT4:
        return True
    rounded = tensor.type in (schema.TensorType.INT8, schema.TensorType.INT16)
    return rounded and tensor.buffer == 0 and tensor.quantization is not None


def _read(step: Any) -> list[int]:
    """Tensors that an op reads, each once; -1 stands for one that is left out."""
    return [int(place) for place in dict.fromkeys(step.inputs.tolist()) if place >= 0]


def _shape(tensor: Any) -> list[int]:
    return [] if tensor.shape is None else list(tensor.shape)


def _data(data: Any, tensor: Any) -> np.ndarray:
    dtype = np.dtype(_DTYPES[tensor.type])
    return np.asarray(data, np.uint8).view(dtype).reshape(_shape(tensor))


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.copy())


def _interpreter(content: bytes) -> Interpreter:
    interpreter = Interpreter(
        model_content=content,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    return interpreter
