"""Nodes' records of where they came from."""

import copy

import torch
from torch import Tensor, nn
from torch.fx.traceback import NodeSource

from converters.executorch.node_history import shared_history


class Doubled(nn.Module):
    """A graph of one node."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        return x * 2


def test_records_are_shared_within_the_block_alone() -> None:
    graph = torch.export.export(Doubled(), (torch.ones(1),)).graph
    record = NodeSource(next(iter(graph.nodes)), "a pass")
    with shared_history():
        assert copy.deepcopy([record])[0] is record
        # What copies nodes with their records copies all else.
        meta = {"from_node": [record], "val": [1]}
        copied = copy.deepcopy(meta)
        assert copied["val"] is not meta["val"]
    assert copy.deepcopy(record) is not record


def test_passes_still_say_where_nodes_came_from() -> None:
    program = torch.export.export(Doubled(), (torch.ones(1),))
    with shared_history():
        shared = program.run_decompositions()
    copied = program.run_decompositions()

    def told(graph: torch.fx.Graph) -> list[list[str]]:
        return [[record.name for record in node.meta.get("from_node", [])] for node in graph.nodes]

    assert told(shared.graph) == told(copied.graph)
    assert any(told(shared.graph))
