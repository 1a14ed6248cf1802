"""Sums over an image, row by row: the same, and exact where each term is added to a float16."""

import numpy as np
import pytest
import torch
from torch import Tensor

from converters.long_sums import sum_by_rows, weighed_by_rows
from converters.modules import build_module, example_inputs
from converters.tflite.convert import prepare
from mobilesam.bundle.contract import Contract
from mobilesam.model.transformer import Attention
from tests.tiny_bundles import make_tiny_model


def added_in_float16(weights: Tensor, values: Tensor) -> Tensor:
    """The product of matrices as a processor makes it that adds one term after the other."""
    total = torch.zeros(*weights.shape[:-1], values.shape[-1], dtype=torch.float16)
    for term in range(weights.shape[-1]):
        total += weights[..., term : term + 1] * values[..., term : term + 1, :]
    return total


def attention(keys: int, spread: float) -> tuple[Tensor, Tensor]:
    """Weights [1, 8, 7, N] and values [1, 8, N, 16] of a random attention, float16."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(1, 8, 7, keys, generator=generator) * spread
    values = torch.randn(1, 8, keys, 16, generator=generator) + 0.5
    return scores.softmax(-1).half(), values.half()


@pytest.mark.parametrize("keys", [1, 8, 49, 63, 64, 65, 256, 1024, 4096])
def test_sums_are_the_same(keys: int) -> None:
    weights, values = (each.double() for each in attention(keys, 1.0))
    assert torch.allclose(weighed_by_rows(weights, values), weights @ values, rtol=1e-12)


@pytest.mark.parametrize("spread", [0.3, 2.0])
def test_long_sums_lose_nothing_in_float16(spread: float, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, values = attention(4096, spread)
    exact = weights.double() @ values.double()

    def off(found: Tensor) -> float:
        return float((found - exact).norm() / exact.norm())

    plain = off(added_in_float16(weights, values))
    monkeypatch.setattr(torch.Tensor, "__matmul__", added_in_float16)
    by_rows = off(weighed_by_rows(weights, values))
    assert by_rows < 1e-3 < 5e-3 < plain


@pytest.mark.parametrize(("scheme", "expected"), [("fp32", True), ("w8", True), ("w8a8", False)])
def test_tflite_files_whose_products_are_floats_have_them(scheme: str, expected: bool) -> None:
    model = make_tiny_model()
    contract = Contract.of(model)
    plain = build_module(model, "decoder", contract)
    inputs = example_inputs(contract, "decoder").values()
    before = plain(*inputs)
    module = prepare(plain, scheme)
    found = {each.weigh for each in module.modules() if isinstance(each, Attention)}
    assert found == {weighed_by_rows if expected else torch.matmul}
    for ours, theirs in zip(module(*inputs), before, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5 * float(theirs.abs().max()))


def test_only_attention_is_changed() -> None:
    model = make_tiny_model()
    sum_by_rows(model)
    changed = [each for each in model.modules() if getattr(each, "weigh", None) is weighed_by_rows]
    assert changed and all(isinstance(each, Attention) for each in changed)
