"""Optimizers, learning rate, averages and frozen batch norms."""

import math
from collections import Counter
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Muon

from mobilesam.model.build import build
from mobilesam.model.layers import LayerNorm2d
from mobilesam.model.sam import MobileSAM
from mobilesam.model.vit import ViT
from mobilesam.training.optimisation import (
    Optimizers,
    averaged,
    channels_last,
    estimate_batch_norm,
    freeze_batch_norm,
    learning_rate,
)
from tests.tiny_bundles import SMALL_VIT

KINDS = ("adamw", "muon")
UNDECAYED = (nn.LayerNorm, nn.BatchNorm2d, LayerNorm2d, nn.Embedding)
TABLES = ("attention_biases", "rel_pos_h", "rel_pos_w", "pos_embed")


class Small(nn.Module):
    """A kernel, a matrix, norms and an embedding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)
        self.linear, self.table = nn.Linear(4, 4), nn.Embedding(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.norm(self.conv(x)).square().mean(dim=(2, 3))
        return self.linear(pooled + self.table.weight[:1])


def parameters(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def changed(module: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {k for k, tensor in module.state_dict().items() if not torch.equal(tensor, before[k])}


def test_learning_rate() -> None:
    rates = [learning_rate(step, 100, 1.0, 0.1, 10) for step in range(101)]
    assert rates[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.55)  # half way down
    assert all(one > other for one, other in zip(rates[10:], rates[11:], strict=False))
    assert rates[100] == pytest.approx(0.1) and rates[99] == pytest.approx(0.1, rel=0.01)


@pytest.mark.parametrize("warmup", [0, 1, 5, 9])
def test_learning_rate_of_a_short_stage(warmup: int) -> None:
    rates = [learning_rate(step, 5, 1.0, 0.0, warmup) for step in range(5)]
    assert all(math.isfinite(rate) and 0 < rate <= 1 for rate in rates)


@pytest.mark.parametrize("encoder", ["TinyViT", "ViT"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_parameter_is_in_one_group_and_only_weights_decay(kind: str, encoder: str) -> None:
    model = build("vit_t", 64) if encoder == "TinyViT" else MobileSAM(ViT(SMALL_VIT), variant="v")
    optimizers = Optimizers(model, kind, 0.03)
    decay: dict[int, float] = {}
    times: Counter[int] = Counter()
    by_muon: set[int] = set()
    for optimizer in optimizers._all:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                decay[id(parameter)] = group["weight_decay"]
                times[id(parameter)] += 1
                if isinstance(optimizer, Muon):
                    by_muon.add(id(parameter))
    for name, parameter in model.named_parameters():
        assert times.pop(id(parameter), 0) == 1, name
        owner = model.get_submodule(name.rpartition(".")[0])
        plain = isinstance(owner, UNDECAYED) or name.endswith((".bias", *TABLES))
        assert decay[id(parameter)] == (0.0 if plain else 0.03), name
        matrix = kind == "muon" and not plain and parameter.ndim == 2
        assert (id(parameter) in by_muon) == matrix, name
    assert not times
    assert len(optimizers.parameters) == len(list(model.parameters()))


@pytest.mark.parametrize("kind", KINDS)
def test_steps(kind: str) -> None:
    model = Small()
    optimizers = Optimizers(model, kind, 0.1)
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    names = set(dict(model.named_parameters()))

    def step(rate: float, factor: float = 1.0) -> float:
        (factor * model(images).square().sum()).backward()
        return optimizers.step(rate, 0.5)

    before = parameters(model)
    assert step(0.0) > 0.5
    assert not changed(model, before) & names
    assert all(parameter.grad is None for parameter in model.parameters())
    for factor in (math.nan, math.inf):
        assert not math.isfinite(step(0.01, factor))
        assert not changed(model, before) & names
        assert all(parameter.grad is None for parameter in model.parameters())
    assert math.isfinite(step(0.01))
    assert changed(model, before) & names == names
    assert all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_taken_up_goes_on_alike(kind: str) -> None:
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))

    def train(model: nn.Module, optimizers: Optimizers) -> None:
        model(images).square().sum().backward()
        optimizers.step(0.01, 1.0)

    one, other = Small(), Small()
    first, second = Optimizers(one, kind, 0.1), Optimizers(other, kind, 0.1)
    train(one, first)
    other.load_state_dict(one.state_dict())
    second.load_state_dict(deepcopy(first.state_dict()))
    train(one, first)
    train(other, second)
    assert not changed(one, parameters(other))


def test_average() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))
    average = averaged(model, 0.75)

    def shift(value: float) -> None:
        with torch.no_grad():
            model.get_parameter("0.weight").fill_(value)
            model.get_buffer("1.running_mean").fill_(2 * value)
        average.update_parameters(model)

    for value, expected in ((1.0, 1.0), (5.0, 2.0), (2.0, 2.0), (10.0, 4.0)):
        shift(value)
        assert float(average.module.get_parameter("0.weight").detach()) == pytest.approx(expected)
        assert float(average.module.get_buffer("1.running_mean")) == pytest.approx(2 * expected)


def test_frozen_batch_norms_keep_their_statistics() -> None:
    model = Small().train()
    images = 3 + torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    freeze_batch_norm(model)
    before = parameters(model)
    model(images).sum().backward()
    assert not changed(model, before)
    assert model.norm.weight.grad is not None and model.norm.weight.grad.any()
    assert model.training and model.linear.training
    model.train()
    model(images)
    assert "norm.running_mean" in changed(model, before)


def test_batch_norm_statistics_are_means_over_the_batches() -> None:
    model = Small().eval()
    for unit in (model.norm.running_mean, model.norm.running_var):
        assert unit is not None
        unit.fill_(7)  # of other weights
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(4, 3, 8, 8, generator=generator) + shift for shift in (0, 1, 5)]
    before = parameters(model)
    estimate_batch_norm(model, batches)
    kernels = [model.conv(batch).detach() for batch in batches]
    means = torch.stack([kernel.mean(dim=(0, 2, 3)) for kernel in kernels])
    variances = torch.stack([kernel.var(dim=(0, 2, 3)) for kernel in kernels])
    torch.testing.assert_close(model.norm.running_mean, means.mean(dim=0))
    torch.testing.assert_close(model.norm.running_var, variances.mean(dim=0))
    assert not model.norm.training and model.norm.momentum == pytest.approx(0.1)
    kept = set(dict(model.named_parameters()))
    assert not changed(model, before) & kept
    assert all(parameter.grad is None for parameter in model.parameters())


def test_channels_last_changes_strides_alone() -> None:
    model, other = Small(), Small()
    assert channels_last(model) is model
    assert model.conv.weight.is_contiguous(memory_format=torch.channels_last)
    assert not changed(model, parameters(other))
