"""The ops of a TFLite file: names, and the types and ranks of what they read and write."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple


class Value(NamedTuple):
    """A tensor.

    Attributes:
        dtype: as TFLite names it, such as ``FLOAT32``.
        shape: length of each axis.
        constant: whether its values are in the file.
        blocks: whether blocks of them have scales of their own.
    """

    dtype: str
    shape: tuple[int, ...]
    constant: bool
    blocks: bool = False

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)


class Op(NamedTuple):
    """One op of the graph, named as in TFLite's schema, such as ``FULLY_CONNECTED``."""

    name: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]


def read_ops(path: Path) -> list[Op]:
    """The ops of a file's first graph, in order.

    Raises:
        ValueError: it is no TFLite file.
    """
    from ai_edge_litert import schema_py_generated as schema

    content = path.read_bytes()
    if not schema.Model.ModelBufferHasIdentifier(content, 0):
        raise ValueError("the file does not begin as a TFLite file does")
    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    kinds = {number: name for name, number in vars(schema.BuiltinOperator).items()}
    dtypes = {number: name for name, number in vars(schema.TensorType).items()}

    def value(index: int) -> Value:
        tensor = graph.Tensors(index)
        constant = bool(model.Buffers(tensor.Buffer()).DataLength())
        about = tensor.Quantization()
        details = schema.QuantizationDetails.BlockwiseQuantization
        blocks = about is not None and about.DetailsType() == details
        shape = tuple(tensor.Shape(axis) for axis in range(tensor.ShapeLength()))
        return Value(dtypes.get(tensor.Type(), "?"), shape, constant, blocks)

    found = []
    for place in range(graph.OperatorsLength()):
        operator = graph.Operators(place)
        code = model.OperatorCodes(operator.OpcodeIndex())
        # Old writers have the number in one field, new ones in the other.
        name = kinds.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "?")
        found.append(
            Op(
                _custom(code) if name == "CUSTOM" else name,
                tuple(value(i) for i in _indices(operator.InputsAsNumpy()) if i >= 0),
                tuple(value(i) for i in _indices(operator.OutputsAsNumpy())),
            )
        )
    return found


def _custom(code: Any) -> str:
    return f"CUSTOM {(code.CustomCode() or b'').decode('utf-8', 'replace')}"


def _indices(array: Any) -> Iterable[int]:
    """Of a vector that reads as 0 where it is not there."""
    return () if isinstance(array, int) else (int(index) for index in array)
