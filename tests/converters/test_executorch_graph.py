"""Graphs written for XNNPACK: the same values, and nothing that it leaves to other kernels."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from converters.executorch.graph import rewrite
from mobilesam.model.layers import LayerNorm2d, bake
from mobilesam.model.tiny_vit import TinyViTBlock


def rewritten(module: nn.Module, x: Tensor) -> Any:
    made = torch.export.export(module.eval(), (x,)).module(check_guards=False)
    rewrite(made)
    return made


def operations(module: Any) -> set[str]:
    return {str(node.target) for node in module.graph.nodes if node.op == "call_function"}


def block() -> TinyViTBlock:
    torch.manual_seed(0)
    made = TinyViTBlock(20, num_heads=2, window=3, mlp_ratio=2.0, local_conv=3)
    for parameter in made.parameters():
        nn.init.normal_(parameter)
    bake(made, 8)
    return made


def test_a_block_keeps_its_values_and_loses_what_xnnpack_lacks() -> None:
    module, x = block(), torch.randn(1, 7, 8, 20)
    made = rewritten(module, x)
    left = {"aten.layer_norm.default", "aten.split.Tensor", "aten.matmul.default"}
    assert not left & operations(made)
    wanted = module(x)
    assert torch.linalg.norm(made(x) - wanted) <= 2e-6 * torch.linalg.norm(wanted)


def test_a_norm_over_channels_is_one_over_the_last_axis() -> None:
    module, x = LayerNorm2d(20), torch.randn(1, 20, 3, 4)
    nn.init.normal_(module.weight)
    made = rewritten(module, x)
    assert "aten.mean.dim" not in operations(made)
    torch.testing.assert_close(made(x), module(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e4])
def test_a_large_mean_costs_a_norm_no_more_digits_than_float32_has(offset: float) -> None:
    """The mean of squares less the square of the mean would be all wrong at 1e4."""
    module = nn.LayerNorm(160)
    x = torch.randn(50, 160, generator=torch.Generator().manual_seed(0)) + offset
    wanted = F.layer_norm(x.double(), [160])
    error = torch.linalg.norm(rewritten(module, x)(x) - wanted) / torch.linalg.norm(wanted)
    assert error <= 1e-6 + 2e-7 * offset


class _Other(nn.Module):
    """Norms, means and products of other shapes than the model's."""

    def forward(self, x: Tensor) -> Tensor:
        normed = F.layer_norm(x, [4, 5])
        mean = x.mean([2, 3], keepdim=True)
        return normed.mean(1) + (x[:, :1] @ x.transpose(2, 3)).sum() + mean[:, 0]


def test_what_it_does_not_know_stays() -> None:
    x = torch.randn(2, 3, 4, 5)
    made = rewritten(_Other(), x)
    assert {"aten.layer_norm.default", "aten.mean.dim", "aten.matmul.default"} <= operations(made)
    torch.testing.assert_close(made(x), _Other()(x))


def _move(perm: list[int] | None, shape: list[int], source: int, target: int) -> Any:
    from executorch.backends.xnnpack.serialization import xnnpack_graph_schema as schema

    ends = {"input_id": source, "output_id": target, "flags": 0, "num_dims": len(shape)}
    node = (
        schema.XNNStaticReshape(new_shape=shape, **ends)
        if perm is None
        else schema.XNNStaticTranspose(perm=perm, **ends)
    )
    return SimpleNamespace(xnode_union=node)


def _reader(source: int, target: int) -> Any:
    from executorch.backends.xnnpack.serialization import xnnpack_graph_schema as schema

    return SimpleNamespace(
        xnode_union=schema.XNNSigmoid(input_id=source, output_id=target, flags=0)
    )


def _shortened(nodes: list[Any], shapes: list[list[int]], outputs: list[int]) -> list[Any]:
    from converters.executorch.moves import shorten

    values = [
        SimpleNamespace(xvalue_union=SimpleNamespace(id_out=number, dims=shape))
        for number, shape in enumerate(shapes)
    ]
    graph: Any = SimpleNamespace(xnodes=nodes, xvalues=values, output_ids=outputs)
    shorten(graph)
    return [each.xnode_union for each in graph.xnodes]


def test_two_transpositions_are_one_or_none() -> None:
    pytest.importorskip("executorch.exir")
    turn, back = [0, 3, 1, 2], [0, 2, 3, 1]
    x, turned = [1, 2, 3, 4], [1, 4, 2, 3]
    (node,) = _shortened(
        [_move(turn, turned, 0, 1), _move(back, x, 1, 2), _reader(2, 3)], [x, turned, x, x], [3]
    )
    assert node.input_id == 0
    first, second = _shortened(
        [_move(turn, turned, 0, 1), _move(turn, [1, 3, 4, 2], 1, 2), _reader(2, 3)],
        [x, turned, [1, 3, 4, 2], [1, 3, 4, 2]],
        [3],
    )
    tensor = torch.arange(24).reshape(x)
    assert torch.equal(tensor.permute(first.perm), tensor.permute(turn).permute(turn))
    assert first.input_id == 0 and second.input_id == first.output_id


def test_what_is_read_elsewhere_or_given_stays() -> None:
    pytest.importorskip("executorch.exir")
    turn, back = [0, 3, 1, 2], [0, 2, 3, 1]
    x, turned = [1, 2, 3, 4], [1, 4, 2, 3]
    nodes = _shortened(
        [_move(turn, turned, 0, 1), _reader(1, 3), _move(back, x, 1, 2)],
        [x, turned, x, turned],
        [2, 3],
    )
    assert [node.output_id for node in nodes] == [1, 3, 2]
    assert nodes[-1].input_id == 0 and nodes[-1].new_shape == x


def test_reshapes_that_follow_each_other_are_one() -> None:
    pytest.importorskip("executorch.exir")
    shapes = [[6, 4], [24], [2, 12], [2, 12]]
    first, second = _shortened(
        [_move(None, [24], 0, 1), _move(None, [2, 12], 1, 2), _reader(2, 3)], shapes, [3]
    )
    assert (first.input_id, first.new_shape, second.input_id) == (0, [2, 12], 2)
