"""Constants of a TFLite file that LiteRT's GPU accelerator broadcasts as TFLite does.

The accelerator lays the last axes of a constant out as height, width and channels, but of a tensor
that is computed the first axis as the batch, whatever its number of axes. Where a constant reaches
that axis the two are mixed up, and the answer is wrong without an error. With four axes both mean
the same. Measured: ai-edge-litert 2.3.0, ADD of every pair of ranks.
"""

from typing import TYPE_CHECKING

from converters.tflite.file import add_shape, read_model, shape_of, write_model

if TYPE_CHECKING:
    from ai_edge_litert.schema_py_generated import ModelT, OperatorT

_ELEMENTWISE = ("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "POW", "SQUARED_DIFFERENCE")
_AXES = 4


def align_constants(content: bytes) -> bytes:
    """The file with four axes wherever an element-wise op's constant reaches the other's first.

    Args:
        content: a float32 TFLite file.

    Returns:
        Another, of the same inputs, outputs and results; the same bytes where nothing is to do.
    """
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    model = read_model(content)
    kinds = {getattr(BuiltinOperator, name) for name in _ELEMENTWISE}
    codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]
    operators = model.subgraphs[0].operators
    found = [op for op in operators if codes[op.opcodeIndex] in kinds and _reaches(model, op)]
    if not found:
        return content
    graph = _Graph(model)
    model.subgraphs[0].operators = [
        each for op in operators for each in (graph.with_four_axes(op) if op in found else [op])
    ]
    return write_model(model)


def _reaches(model: "ModelT", operator: "OperatorT") -> bool:
    """Whether a constant has as many axes as the computed tensor beside it, ones ahead aside."""
    computed, constant = _sides(model, operator)
    if computed is None or constant is None:
        return False
    tensors = model.subgraphs[0].tensors
    shape = shape_of(tensors[constant])
    while shape and shape[0] == 1:
        shape.pop(0)
    rank = len(shape_of(tensors[computed]))
    return rank < _AXES and bool(shape) and len(shape) >= rank


def _sides(model: "ModelT", operator: "OperatorT") -> tuple[int | None, int | None]:
    """The computed input and the constant one, of an op that has one of each."""
    computed, constant = None, None
    for index in map(int, operator.inputs):
        data = model.buffers[model.subgraphs[0].tensors[index].buffer].data
        if data is not None and len(data):
            constant = index
        else:
            computed = index
    return computed, constant


class _Graph:
    def __init__(self, model: "ModelT") -> None:
        from ai_edge_litert.schema_py_generated import BuiltinOperator, OperatorCodeT

        self._model = model
        self._tensors = model.subgraphs[0].tensors
        codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]
        if BuiltinOperator.RESHAPE not in codes:
            code = OperatorCodeT()
            code.builtinCode = code.deprecatedBuiltinCode = BuiltinOperator.RESHAPE
            code.version = 1
            model.operatorCodes.append(code)
            codes.append(BuiltinOperator.RESHAPE)
        self._reshape_code = codes.index(BuiltinOperator.RESHAPE)

    def with_four_axes(self, operator: "OperatorT") -> list["OperatorT"]:
        """The op between the reshapes that it needs."""
        computed, _ = _sides(self._model, operator)
        assert computed is not None
        raised = self._like(computed, _four(shape_of(self._tensors[computed])))
        before = self._reshape(computed, raised)
        operator.inputs = [raised if int(i) == computed else int(i) for i in operator.inputs]
        output = int(operator.outputs[0])
        shape = shape_of(self._tensors[output])
        if len(shape) == _AXES:
            return [before, operator]
        whole = self._like(output, _four(shape))
        operator.outputs = [whole]
        return [before, operator, self._reshape(whole, output)]

    def _like(self, index: int, shape: list[int]) -> int:
        """A new tensor of another's type."""
        from ai_edge_litert.schema_py_generated import TensorT

        tensor, other = TensorT(), self._tensors[index]
        tensor.name, tensor.shape = other.name + b"/four_axes", shape
        tensor.type, tensor.buffer = other.type, 0
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def _reshape(self, source: int, target: int) -> "OperatorT":
        from ai_edge_litert import schema_py_generated as schema

        operator, options = schema.OperatorT(), schema.ReshapeOptionsT()
        options.newShape = shape_of(self._tensors[target])
        operator.opcodeIndex = self._reshape_code
        operator.inputs, operator.outputs = [source, add_shape(self._model, target)], [target]
        operator.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
        operator.builtinOptions = options
        return operator


def _four(shape: list[int]) -> list[int]:
    return [1] * (_AXES - len(shape)) + shape
