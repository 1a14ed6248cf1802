"""Scales and zero points of the activations of an ExecuTorch program."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from parity.activation_audit.activation import Activation, Layer
from parity.weight_audit.executorch import read_program
from parity.weight_audit.xnnpack import XNNPACKGraph

_BOUNDS = (-128, 127)
"""XNNPACK's graphs have activations of int8 alone."""

_KEEPING = (
    "aten::expand_copy",
    "aten::mean",
    "aten::unsqueeze_copy",
    "aten::view_copy",
    "dim_order_ops::_to_dim_order_copy",
)
"""Operations outside XNNPACK that give values within the range of what they read first. What is
rounded again after them has the same scale."""

_Value = tuple[int, int]
"""Delegate and number of a tensor; -1 and the number of a value that delegates share."""


def read_activations(path: Path) -> Iterator[Activation]:
    """Every tensor with a scale that XNNPACK computes, with the layers beside it."""
    program, graphs = read_program(path)
    plan = program.execution_plan[0]
    walk = _Walk(graphs)
    for instruction in plan.chains[0].instructions:
        call = instruction.instr_args
        if hasattr(call, "delegate_index"):
            walk.delegate(call.delegate_index, call.args)
        elif hasattr(call, "op_index") and plan.operators[call.op_index].name in _KEEPING:
            walk.keep((-1, call.args[0]), (-1, call.args[-1]))
    return walk.found()


class _Walk:
    """The operations in the order in which they run, and where their values come from."""

    def __init__(self, graphs: Sequence[XNNPACKGraph]) -> None:
        self._graphs = graphs
        self._kept: dict[_Value, _Value] = {}
        self._beside: defaultdict[_Value, list[Layer]] = defaultdict(list)
        self._rounded: dict[_Value, _Value] = {}

    def keep(self, read: _Value, made: _Value) -> None:
        self._kept[made] = self._kept.get(read, read)

    def delegate(self, index: int, arguments: Sequence[int]) -> None:
        graph = self._graphs[index]

        def value(number: int) -> _Value:
            external = graph.tensors[number].external
            return (-1, arguments[external]) if external >= 0 else (index, number)

        for node in graph.nodes:
            if node.keeps:
                self.keep(value(node.inputs[0]), value(node.output))
            if node.layer:
                read, made = value(node.inputs[0]), value(node.output)
                weight = f"delegate {index}, value {node.inputs[1]}"
                self._beside[self._kept.get(read, read)].append(Layer(weight, "input"))
                self._beside[made].append(Layer(weight, "output", node.clamped))
        for number, tensor in graph.tensors.items():
            if tensor.scale is not None and tensor.content is None:
                self._rounded[index, number] = value(number)

    def found(self) -> Iterator[Activation]:
        for (index, number), value in self._rounded.items():
            tensor = self._graphs[index].tensors[number]
            assert tensor.scale is not None
            yield Activation(
                f"delegate {index}, value {number}",
                float(tensor.scale.reshape(())),
                float(tensor.zero_point),
                _BOUNDS,
                tuple(self._beside.get(self._kept.get(value, value), ())),
            )
