"""Constants of a TFLite file, with what its operations compute from constants alone."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mobilesam.errors import BundleError
from mobilesam.runtimes.checked import first_line
from parity.bisection.tflite_alignment import module_of
from parity.weight_audit.constants import Constant, half_ulp

_OPS = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
_DTYPES = {
    code: "bool" if name == "BOOL" else name.lower()
    for name, code in vars(schema.TensorType).items()
    if name in ("FLOAT16", "FLOAT32", "INT8", "INT16", "INT32", "INT64", "UINT8", "BOOL")
}

WEIGHTED = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 0, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 2}
"""Operations with a weight, and the place of their input among what they read. The weight is second
and the bias comes last, third where the input is first."""

_WEIGHT = 1

MADE_OF_PARTS = 2.0**-18
"""Error of a constant that is computed from others, for each unit of its largest value: where the
exporter stores one in parts, it allows half of this."""


class Known(NamedTuple):
    """A constant, and the largest error that its storage may have caused."""

    values: np.ndarray
    rounding: np.ndarray


class Graph(NamedTuple):
    """The one graph of a file.

    Attributes:
        operators, tensors: as the schema's classes have them.
        kinds: of the operators, in TFLite's names.
        content: bytes of each tensor that is a constant, by its number.
        outputs: numbers of the tensors that are the graph's outputs.
    """

    operators: Sequence[Any]
    tensors: Sequence[Any]
    kinds: Sequence[str]
    content: Mapping[int, np.ndarray]
    outputs: Sequence[int]

    def label(self, tensor: int) -> str:
        """What the file calls a tensor; several may have the same name."""
        return (self.tensors[tensor].name or b"").decode()

    def integers(self, tensor: int) -> np.ndarray:
        """A constant as it is stored, one-dimensional."""
        return self.content[tensor].view(np.dtype(_DTYPES[self.tensors[tensor].type]))

    def scale(self, tensor: int) -> np.ndarray | None:
        """The scales of a tensor, one or one a channel; None if it has none."""
        about = self.tensors[tensor].quantization
        if about is None or about.scale is None or not len(about.scale):
            return None
        return np.asarray(about.scale, np.float64)

    def zero_point(self, tensor: int) -> np.ndarray:
        """The zero points of a tensor that has scales."""
        zeros = self.tensors[tensor].quantization.zeroPoint
        return np.zeros(1) if zeros is None or not len(zeros) else np.asarray(zeros, np.float64)


def read_graph(path: Path) -> Graph:
    """The graph of a file; what is wrong with a damaged one is raised as it comes."""
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    model = schema.ModelT.InitFromPackedBuf(whole.tobytes(), 0)
    (graph,) = model.subgraphs
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    kinds = [_OPS[codes[step.opcodeIndex]] for step in graph.operators]
    content = {}
    for number, tensor in enumerate(graph.tensors):
        buffer = model.buffers[tensor.buffer]
        if buffer.data is not None:
            content[number] = np.asarray(buffer.data, np.uint8)
        elif buffer.size:  # behind the flatbuffer, where a writer may put what is large
            content[number] = whole[buffer.offset : buffer.offset + buffer.size]
    return Graph(graph.operators, graph.tensors, kinds, content, list(graph.outputs))


def read_constants(path: Path) -> list[Constant]:
    """The floating-point constants that a file's operations compute with.

    Integers with a scale are made float. The bias of a layer that computes in integers is what the
    runtime takes it for: a multiple of the product of the input's scale and the weight's, whatever
    scale the bias itself claims.

    Raises:
        BundleError: the file cannot be read.
    """
    try:
        return _Reader(read_graph(path)).read()
    except Exception as error:  # whatever a damaged flatbuffer makes of its reader
        raise BundleError(
            f"the constants of {path} cannot be read ({first_line(error)}), export the bundle again"
        ) from error


class _Reader:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._known = {number: self._stored(number) for number in graph.content}
        self._found: dict[str, Constant] = {}

    def read(self) -> list[Constant]:
        for place, (kind, step) in enumerate(
            zip(self._graph.kinds, self._graph.operators, strict=True)
        ):
            read = [int(each) for each in step.inputs if each >= 0]
            if read and all(each in self._known for each in read):
                made = _computed(kind, step, [self._known[each] for each in read])
                if made is not None:
                    self._known[int(step.outputs[0])] = made
            else:
                self._collect(place, kind, step)
        return list(self._found.values())

    def _stored(self, number: int) -> Known:
        """A constant as the file holds it; integers with a scale as multiples of it."""
        tensor = self._graph.tensors[number]
        shape = [] if tensor.shape is None else [int(side) for side in tensor.shape]
        if tensor.type == schema.TensorType.INT4:
            count = math.prod(shape)
            values = _unpacked(self._graph.content[number])[:count].reshape(shape)
        else:
            values = self._graph.integers(number).reshape(shape)
        if values.dtype == np.float16:
            return Known(values.astype(np.float32), half_ulp(values))
        scale = self._scale_of_each(number, shape)
        if scale is None or values.dtype.kind != "i":
            return Known(values, np.zeros((1,) * values.ndim, np.float32))
        return Known(((values - scale.zero) * scale.step).astype(np.float32), scale.step / 2)

    def _scale_of_each(self, number: int, shape: Sequence[int]) -> "_Scale | None":
        """Scale and zero point, so that they broadcast to a shape; None without a scale."""
        about = self._graph.tensors[number].quantization
        details = None if about is None else about.details
        if isinstance(details, schema.BlockwiseQuantizationT):
            grown = (*shape[:-1], shape[-1] // details.blockSize)
            step, zero = (
                np.repeat(self._graph.integers(part).reshape(grown), details.blockSize, axis=-1)
                if part > 0
                else np.zeros(1)
                for part in (details.scales, details.zeroPoints)
            )
            return _Scale(step.astype(np.float64), zero.astype(np.float64))
        scales = self._graph.scale(number)
        if scales is None:
            return None
        sides = [1] * len(shape)
        if scales.size > 1:
            sides[about.quantizedDimension] = scales.size
        zeros = np.broadcast_to(self._graph.zero_point(number), scales.shape)
        return _Scale(scales.reshape(sides), zeros.reshape(sides))

    def _collect(self, place: int, kind: str, step: Any) -> None:
        label = module_of(self._graph.label(int(step.outputs[0])))
        for position, number in enumerate(map(int, step.inputs)):
            known = self._known.get(number)
            name = f"{number}:{self._graph.label(number)}"
            if known is not None and kind in WEIGHTED and position > _WEIGHT:
                if self._graph.integers(number).dtype.kind == "i":
                    known = self._whole_bias(step, number, WEIGHTED[kind])
            if known is not None and known.values.dtype.kind == "f":
                reader = f"{kind} {position}{_turned(kind, step)}"
                made = Constant(name, known.values, known.rounding, place, label, reader=reader)
                self._found.setdefault(name, made)

    def _whole_bias(self, step: Any, number: int, source: int) -> Known:
        """A bias in steps of the input's scale times the weight's."""
        stored = self._graph.integers(number)
        step_in, step_weight = (
            self._graph.scale(int(step.inputs[each])) for each in (source, _WEIGHT)
        )
        if step_in is None or step_weight is None:
            raise ValueError(f"bias {self._graph.label(number)} is of a layer without scales")
        scale = np.broadcast_to(step_in * step_weight, stored.shape)
        return Known((stored * scale).astype(np.float32), scale / 2)


def _turned(kind: str, step: Any) -> str:
    """Which inputs a product reads transposed."""
    options = step.builtinOptions
    return f" {options.adjX} {options.adjY}" if kind == "BATCH_MATMUL" else ""


class _Scale(NamedTuple):
    step: np.ndarray
    zero: np.ndarray


def _unpacked(content: np.ndarray) -> np.ndarray:
    """Integers of four bits, two in a byte, the lower half first."""
    both = np.stack([content << 4, content], axis=-1).view(np.int8) >> 4
    return both.reshape(-1)


def _computed(kind: str, step: Any, given: Sequence[Known]) -> Known | None:
    """What an operation makes of constants; None for one that no exporter leaves to the runtime."""
    first, *others = given
    if kind == "DEQUANTIZE":
        return first
    if kind == "CAST":
        dtype = _DTYPES[step.builtinOptions.outDataType]
        return Known(first.values.astype(dtype), first.rounding)
    if kind in _MOVING:
        rounding = np.broadcast_to(first.rounding, first.values.shape)
        return Known(*(_MOVING[kind](each, step, others) for each in (first.values, rounding)))
    if kind in _ARITHMETIC:
        made = _ARITHMETIC[kind](first.values, others[0].values)
        error = MADE_OF_PARTS * np.abs(made).max() + _carried(kind, first, others[0])
        return Known(made, np.asarray(error, np.float32))
    return None


def _carried(kind: str, left: Known, right: Known) -> np.ndarray:
    """What the error of two constants makes of that of their sum or product."""
    if kind == "MUL":
        return left.rounding * np.abs(right.values) + right.rounding * np.abs(left.values)
    return left.rounding + right.rounding


_MOVING: Mapping[str, Callable[[np.ndarray, Any, Sequence[Known]], np.ndarray]] = {
    "RESHAPE": lambda array, _, others: array.reshape(others[0].values),
    "TRANSPOSE": lambda array, _, others: array.transpose(others[0].values),
    "GATHER": lambda array, step, others: np.take(
        array, others[0].values, axis=step.builtinOptions.axis
    ),
}

_ARITHMETIC: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "ADD": np.add,
    "SUB": np.subtract,
    "MUL": np.multiply,
}
