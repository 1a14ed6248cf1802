"""Linear layers of a TFLite file that keep the axes of their input.

litert-torch gives a linear layer rows [N, C] where the model has [1, N, C]. On a CPU that is the
same. LiteRT's GPU accelerator takes the first axis of a tensor for a batch, and refuses a layer of
int8 weights between one of N and one of 1.
"""

from typing import TYPE_CHECKING

from converters.tflite.file import add_shape, read_model, write_model

if TYPE_CHECKING:
    from ai_edge_litert.schema_py_generated import OperatorT


def keep_ranks(content: bytes) -> bytes:
    """The file with rows [1, N, C] wherever a linear layer reads or writes [N, C] and N is not 1.

    Left as they are: rows that another kind of operation makes of a tensor of other axes, or reads
    into one.

    Args:
        content: a float32 TFLite file.

    Returns:
        Another, of the same inputs, outputs and results.
    """
    graph = _Graph(content)
    for operator in graph.linear():
        graph.raise_input(operator)
        graph.raise_output(operator)
    return write_model(graph.model)


class _Graph:
    def __init__(self, content: bytes) -> None:
        from ai_edge_litert.schema_py_generated import BuiltinOperator

        self.model = read_model(content)
        self._graph = self.model.subgraphs[0]
        codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in self.model.operatorCodes]
        self._linear = codes.index(op) if (op := BuiltinOperator.FULLY_CONNECTED) in codes else None
        self._reshape = codes.index(op) if (op := BuiltinOperator.RESHAPE) in codes else None
        self._made = {int(o.outputs[0]): o for o in self._graph.operators}
        self._readers: dict[int, list[OperatorT]] = {}
        for operator in self._graph.operators:
            for index in operator.inputs:
                self._readers.setdefault(int(index), []).append(operator)
        self._fixed = {*map(int, self._graph.inputs), *map(int, self._graph.outputs)}

    def linear(self) -> list["OperatorT"]:
        return [o for o in self._graph.operators if o.opcodeIndex == self._linear]

    def raise_input(self, operator: "OperatorT") -> None:
        """Let what reshapes a linear layer's input make [1, N, C] of it."""
        index = int(operator.inputs[0])
        maker = self._made.get(index)
        if maker is None or maker.opcodeIndex != self._reshape or not self._may_rise(index):
            return
        self._rise(index)
        shape = self._graph.tensors[index].shape
        maker.inputs = [maker.inputs[0], add_shape(self.model, index)]
        if maker.builtinOptions is not None:
            maker.builtinOptions.newShape = shape

    def raise_output(self, operator: "OperatorT") -> None:
        """Let a linear layer of [1, N, C] give the same axes."""
        source, index = int(operator.inputs[0]), int(operator.outputs[0])
        if len(self._graph.tensors[source].shape) == 3 and self._may_rise(index):
            self._rise(index)
        ranks = {len(self._graph.tensors[each].shape) for each in (source, index)}
        if len(ranks) == 1:
            operator.builtinOptions.keepNumDims = True

    def _may_rise(self, index: int) -> bool:
        """Whether a tensor is [N, C] and all that read it take [1, N, C] as well."""
        shape = self._graph.tensors[index].shape
        if len(shape) != 2 or shape[0] == 1 or index in self._fixed:
            return False
        return all(
            reader.opcodeIndex in (self._linear, self._reshape)
            or len(self._graph.tensors[int(reader.outputs[0])].shape) > 2
            for reader in self._readers.get(index, [])
        )

    def _rise(self, index: int) -> None:
        tensor = self._graph.tensors[index]
        tensor.shape = [1, *(int(side) for side in tensor.shape)]
        tensor.shapeSignature = None
