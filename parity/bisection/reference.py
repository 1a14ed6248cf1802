"""PyTorch's own value of every node of the captured model, computed when it is asked for."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Node
from torch.fx.node import map_arg


class Reference:
    """The captured model run node by node, in float32, only as far as needed.

    Args:
        program: as ``torch.export`` captured it.
        inputs: by name of the program's inputs.
        kept: nodes whose values will be asked for, each as often as :meth:`release` is called;
            others are freed once nothing in the graph needs them.
    """

    def __init__(
        self, program: ExportedProgram, inputs: Mapping[str, Tensor], kept: Iterable[Node]
    ) -> None:
        self._kept = Counter(kept)
        self._remaining = iter(program.graph.nodes)
        self._uses = Counter(
            source for node in program.graph.nodes for source in node.all_input_nodes
        )
        self._given = _placeholders(program, inputs)
        self._values: dict[Node, Any] = {}

    @torch.inference_mode()
    def value(self, node: Node) -> Tensor:
        """The value of a kept node; the graph is run up to it."""
        while node not in self._values:
            self._step(next(self._remaining))
        value = self._values[node]
        assert isinstance(value, Tensor), f"{node} has no single tensor for a value"
        return value

    def release(self, node: Node) -> None:
        """Say that a kept node is needed once less."""
        self._kept[node] -= 1
        self._free(node)

    def _step(self, node: Node) -> None:
        if node.op == "placeholder":
            self._values[node] = self._given[node.name]
        elif node.op == "call_function":
            arguments = map_arg(node.args, self._values.__getitem__)
            options = map_arg(node.kwargs, self._values.__getitem__)
            assert callable(node.target)
            self._values[node] = node.target(*arguments, **options)
        for source in node.all_input_nodes:
            self._uses[source] -= 1
            self._free(source)

    def _free(self, node: Node) -> None:
        if self._uses[node] <= 0 and self._kept[node] <= 0:
            self._values.pop(node, None)


def _placeholders(program: ExportedProgram, inputs: Mapping[str, Tensor]) -> dict[str, object]:
    """What each placeholder of the graph stands for: an input, a parameter or a constant."""
    stored = {**program.constants, **program.state_dict}
    given: dict[str, object] = {}
    for spec in program.graph_signature.input_specs:
        name = spec.arg.name
        own = spec.kind == InputKind.USER_INPUT
        given[name] = inputs[name] if own else stored[str(spec.target)]
    return given
