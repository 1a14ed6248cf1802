"""Large constants of a TFLite file, stored as the small ones that they are made of.

Two constants of MobileSAM hold far fewer numbers than elements. A relative-position bias repeats
one value for each distance between two tokens, in rows and in columns: 38,416 pairs, 14 x 14
distances. The positional encoding of the image is, channel by channel, a sum of two products of a
value for the row and one for the column: sin(x + y) = sin x cos y + cos x sin y. Both are computed
from their parts when the file runs, the first exactly, the second to float32's rounding, and with
operations that LiteRT's GPU accelerator takes.
"""

from collections.abc import Iterable, Sequence
from math import isqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from converters.tflite.file import read_model, write_model

if TYPE_CHECKING:
    from ai_edge_litert.schema_py_generated import ModelT, OperatorT

SMALLEST = 8192
"""Elements that a constant must have: a smaller one is not worth an operation."""

LARGEST_ERROR = 2e-6
"""Of a constant made of factors, for each unit of its largest value; float32 rounds by 6e-8."""


class Table(NamedTuple):
    """A bias [1, H, W * W, W * W] between the tokens of a window, row by row, is made of it.

    Attributes:
        values: [H, W, W] float32, by attention head and by distance in rows and in columns.
    """

    values: np.ndarray

    @property
    def distances(self) -> np.ndarray:
        """[W, W] int32, between two places on one axis."""
        places = np.arange(self.values.shape[1], dtype=np.int32)
        return np.abs(places[:, None] - places)

    @property
    def bias(self) -> np.ndarray:
        """What it stands for: [1, H, W * W, W * W]."""
        heads, width = self.values.shape[:2]
        apart = self.distances
        pairs = self.values[:, apart[:, None, :, None], apart[None, :, None, :]]
        return pairs.reshape(1, heads, width * width, width * width)


class Factors(NamedTuple):
    """Sum over R of ``rows[r] * columns[r]`` is the constant.

    Attributes:
        rows: [R, G, 1, C] float32. columns: [R, 1, G, C] float32.
    """

    rows: np.ndarray
    columns: np.ndarray


def as_table(array: np.ndarray) -> Table | None:
    """The table of [1, H, W * W, W * W], if distances are all that it depends on."""
    if array.ndim != 4 or array.shape[0] != 1 or array.shape[2] != array.shape[3]:
        return None
    width = isqrt(array.shape[2])
    if width**2 != array.shape[2]:
        return None
    # The first token is in the corner: its distances from the others are their places.
    table = Table(np.ascontiguousarray(array[0, :, 0].reshape(-1, width, width)))
    return table if np.array_equal(table.bias, array) else None


def as_factors(array: np.ndarray) -> Factors | None:
    """Two factors of [1, G * G, C], where they are enough for every channel."""
    if array.ndim != 3 or array.shape[0] != 1 or isqrt(array.shape[1]) ** 2 != array.shape[1]:
        return None
    side, channels = isqrt(array.shape[1]), array.shape[2]
    maps = array.reshape(side, side, channels).transpose(2, 0, 1).astype(np.float64)
    left, sizes, right = np.linalg.svd(maps)
    roots = np.sqrt(sizes[:, :2])
    rows = (left[:, :, :2] * roots[:, None, :]).transpose(2, 1, 0)
    columns = (right[:, :2] * roots[:, :, None]).transpose(1, 2, 0)
    found = Factors(rows[:, :, None].astype(np.float32), columns[:, None].astype(np.float32))
    made = sum(r * c for r, c in zip(found.rows, found.columns, strict=True))
    error = np.abs(made.reshape(array.shape) - array).max()
    return found if error <= LARGEST_ERROR * np.abs(array).max() else None


def shrink_constants(content: bytes) -> bytes:
    """The file with every such constant of its first graph computed from its parts.

    Args:
        content: a float32 TFLite file.

    Returns:
        Another, of the same inputs, outputs and results but for rounding.
    """
    model = read_model(content)
    _Shrinker(model).run()
    return write_model(model)


class _Shrinker:
    """Puts operations that make the constants in front of all others."""

    def __init__(self, model: "ModelT") -> None:
        self._model = model
        self._graph = model.subgraphs[0]
        self._made: list[OperatorT] = []
        self._shared: dict[bytes, int] = {}

    def run(self) -> None:
        from ai_edge_litert.schema_py_generated import TensorType

        for index in range(len(self._graph.tensors)):
            tensor = self._graph.tensors[index]
            data = self._model.buffers[tensor.buffer].data
            if tensor.type != TensorType.FLOAT32 or data is None or len(data) < 4 * SMALLEST:
                continue
            array = np.frombuffer(bytes(data), np.float32).reshape(tuple(tensor.shape))
            if table := as_table(array):
                self._release(index)
                self._expand(index, table)
            elif factors := as_factors(array):
                self._release(index)
                self._multiply(index, factors)
        self._graph.operators = [*self._made, *self._graph.operators]

    def _release(self, index: int) -> None:
        """Turn a constant into a computed tensor, which has the empty buffer."""
        tensor = self._graph.tensors[index]
        others = (t for t in self._graph.tensors if t is not tensor)
        if all(other.buffer != tensor.buffer for other in others):
            self._model.buffers[tensor.buffer].data = None
        tensor.buffer = 0

    def _expand(self, index: int, table: Table) -> None:
        """Look up the distances in rows, then those in columns, and put the axes in order."""
        heads, width = table.values.shape[:2]
        tokens = width * width
        name = self._name(index)
        # The accelerator gathers from what is computed only.
        zero = self._constant(f"{name}/zero", np.zeros((1, 1, 1, 1), np.float32))
        stored = self._constant(f"{name}/table", table.values[None])
        values = self._computed(f"{name}/values", (1, heads, width, width))
        self._sum([stored, zero], values)
        apart = self._constant(f"{name}/distances", table.distances.reshape(-1))
        rows = self._computed(f"{name}/rows", (1, heads, tokens, width))
        self._gather(values, apart, 2, rows)
        pairs = self._computed(f"{name}/columns", (1, heads, tokens, tokens))
        self._gather(rows, apart, 3, pairs)
        # From head, two rows, two columns to head, row and column, row and column; four axes do.
        apart_axes = (heads * width, width, width, width)
        split = self._computed(f"{name}/split", apart_axes)
        self._reshape(pairs, split)
        turned = self._computed(f"{name}/turned", apart_axes)
        self._swap(split, turned)
        self._reshape(turned, index)

    def _gather(self, values: int, places: int, axis: int, output: int) -> None:
        from ai_edge_litert.schema_py_generated import (
            BuiltinOperator,
            BuiltinOptions,
            GatherOptionsT,
        )

        options = GatherOptionsT()
        options.axis = axis
        kind = BuiltinOptions.GatherOptions
        self._add(BuiltinOperator.GATHER, [values, places], output, kind, options)

    def _swap(self, value: int, output: int) -> None:
        """Swap the two axes in the middle."""
        from ai_edge_litert.schema_py_generated import (
            BuiltinOperator,
            BuiltinOptions,
            TransposeOptionsT,
        )

        order = self._constant(f"{self._name(output)}/order", np.array([0, 2, 1, 3], np.int32))
        kind = BuiltinOptions.TransposeOptions
        self._add(BuiltinOperator.TRANSPOSE, [value, order], output, kind, TransposeOptionsT())

    def _reshape(self, value: int, output: int) -> None:
        from ai_edge_litert.schema_py_generated import (
            BuiltinOperator,
            BuiltinOptions,
            ReshapeOptionsT,
        )

        options = ReshapeOptionsT()
        options.newShape = [int(side) for side in self._graph.tensors[output].shape]
        sides = self._constant(f"{self._name(output)}/shape", np.array(options.newShape, np.int32))
        kind = BuiltinOptions.ReshapeOptions
        self._add(BuiltinOperator.RESHAPE, [value, sides], output, kind, options)

    def _sum(self, terms: Sequence[int], output: int) -> None:
        from ai_edge_litert.schema_py_generated import (
            AddOptionsT,
            BuiltinOperator,
            BuiltinOptions,
        )

        kind = BuiltinOptions.AddOptions
        self._add(BuiltinOperator.ADD, terms, output, kind, AddOptionsT())

    def _multiply(self, index: int, factors: Factors) -> None:
        from ai_edge_litert.schema_py_generated import BuiltinOperator, BuiltinOptions, MulOptionsT

        name = self._name(index)
        whole = (1, factors.rows.shape[1], factors.columns.shape[2], factors.rows.shape[3])
        terms = []
        for number, (row, column) in enumerate(zip(factors.rows, factors.columns, strict=True)):
            rows = self._constant(f"{name}/rows_{number}", row[None])
            columns = self._constant(f"{name}/columns_{number}", column[None])
            terms.append(self._computed(f"{name}/product_{number}", whole))
            kind = BuiltinOptions.MulOptions
            self._add(BuiltinOperator.MUL, [rows, columns], terms[-1], kind, MulOptionsT())
        total = self._computed(f"{name}/sum", whole)
        self._sum(terms, total)
        self._reshape(total, index)

    def _add(
        self, code: int, inputs: Iterable[int], output: int, kind: int, options: object
    ) -> None:
        from ai_edge_litert.schema_py_generated import OperatorT

        operator = OperatorT()
        operator.opcodeIndex = self._opcode(code)
        operator.inputs, operator.outputs = list(inputs), [output]
        operator.builtinOptionsType, operator.builtinOptions = kind, options
        self._made.append(operator)

    def _opcode(self, code: int) -> int:
        """Index of an operator code, which is added if the file has none such."""
        from ai_edge_litert.schema_py_generated import OperatorCodeT

        codes = self._model.operatorCodes
        for index, known in enumerate(codes):
            if max(known.builtinCode, known.deprecatedBuiltinCode) == code:
                return index
        added = OperatorCodeT()
        # The older field is a byte; readers take the larger of the two.
        added.builtinCode, added.deprecatedBuiltinCode, added.version = code, min(code, 127), 1
        codes.append(added)
        return len(codes) - 1

    def _constant(self, name: str, array: np.ndarray) -> int:
        """A tensor with data; equal data are stored once."""
        from ai_edge_litert.schema_py_generated import BufferT

        content = np.ascontiguousarray(array).tobytes()
        if content not in self._shared:
            buffer = BufferT()
            buffer.data = np.frombuffer(content, np.uint8)
            self._model.buffers.append(buffer)
            self._shared[content] = len(self._model.buffers) - 1
        return self._tensor(name, array.shape, array.dtype.name, self._shared[content])

    def _name(self, index: int) -> str:
        found: bytes = self._graph.tensors[index].name
        return found.decode()

    def _computed(self, name: str, shape: Sequence[int]) -> int:
        return self._tensor(name, shape, "float32", 0)

    def _tensor(self, name: str, shape: Sequence[int], dtype: str, buffer: int) -> int:
        from ai_edge_litert.schema_py_generated import TensorT, TensorType

        tensor = TensorT()
        tensor.name, tensor.shape = name.encode(), [int(side) for side in shape]
        tensor.type = getattr(TensorType, dtype.upper())
        tensor.buffer = buffer
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1
