"""The weights in a file: right ones of every scheme pass, and each kind of fault is named."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from converters.lookup import schemes_of
from converters.schemes import TARGETS
from mobilesam.bundle.contract import COMPONENTS, Component
from mobilesam.model.sam import MobileSAM
from parity.weight_audit.audit import Audit, audit
from parity.weight_audit.constants import Constant
from parity.weight_audit.expected import expected
from parity.weight_audit.layouts import arranged
from parity.weight_audit.matching import match
from parity.weight_audit.run import read_file
from tests.tiny_bundles import make_tiny_model, tiny_bundle, tiny_model
from tests.upstream.oracle import randomize

ALL = [(target, scheme) for target in TARGETS for scheme in schemes_of(target)]
NAMES = [f"{target}-{scheme}" for target, scheme in ALL]

QKV = "image_encoder.layers.3.blocks.0.attn.qkv.weight"
LINEAR = "mask_decoder.transformer.layers.1.mlp.lin2.weight"
OTHER_LINEAR = "mask_decoder.transformer.layers.0.mlp.lin2.weight"
SQUARE = "mask_decoder.transformer.layers.1.self_attn.q_proj.weight"
BIAS = "mask_decoder.transformer.layers.1.mlp.lin1.bias"


@cache
def constants(target: str, scheme: str, component: Component) -> tuple[Constant, ...]:
    bundle = tiny_bundle(target, scheme)
    return tuple(read_file(bundle, bundle.runtimes[0], component))


def holding(given: Sequence[Constant], component: Component, name: str) -> Constant:
    """The constant of a part whose name begins with a parameter's."""
    _, pairs = match(expected(tiny_model(), component).units, given)
    return next(found.constant for part, found in pairs.items() if part.startswith(name))


def changed(
    given: Sequence[Constant], old: Constant, change: Callable[[np.ndarray], np.ndarray]
) -> list[Constant]:
    values = change(old.values.astype(np.float32).copy())
    return [replace(one, values=values) if one is old else one for one in given]


def failing(found: Audit) -> str:
    return "; ".join([*found.missing, *(finding.sentence for finding in found.wrong)])


@pytest.mark.parametrize(("target", "scheme"), ALL, ids=NAMES)
def test_every_parameter_is_found_in_a_good_file(target: str, scheme: str) -> None:
    for component in COMPONENTS:
        found = audit(tiny_model(), component, constants(target, scheme, component))
        assert not failing(found)
        assert found.excess <= 1
        assert found.found == found.total


@pytest.mark.parametrize(("target", "scheme"), ALL, ids=NAMES)
def test_faults_are_found_in_every_scheme(target: str, scheme: str) -> None:
    given = constants(target, scheme, "decoder")
    weight = holding(given, "decoder", LINEAR)
    bias = holding(given, "decoder", BIAS)

    def doubled_channel(values: np.ndarray) -> np.ndarray:
        axis = 0 if values.shape[0] == 32 else values.ndim - 1
        np.moveaxis(values, axis, 0)[3] *= 2
        return values

    def damaged(values: np.ndarray) -> np.ndarray:
        flat = values.reshape(-1)
        flat[100:1100] = np.random.default_rng(0).permutation(flat[100:1100])
        return values

    faults: list[tuple[Constant, Callable[[np.ndarray], np.ndarray], str]] = [
        (weight, doubled_channel, LINEAR),
        (weight, damaged, LINEAR),
        (weight, lambda values: -values, LINEAR),
        (holding(given, "decoder", SQUARE), np.transpose, SQUARE),
        (weight, lambda values: np.full_like(values, np.nan), LINEAR),
        (bias, np.zeros_like, BIAS),
    ]
    for constant, change, name in faults:
        assert name in failing(audit(tiny_model(), "decoder", changed(given, constant, change)))
    dropped = [one for one in given if one is not bias]
    assert BIAS in failing(audit(tiny_model(), "decoder", dropped))


@pytest.mark.parametrize(("target", "scheme"), ALL, ids=NAMES)
def test_swapped_layers_are_found_in_every_scheme(target: str, scheme: str) -> None:
    given = constants(target, scheme, "decoder")
    one, other = holding(given, "decoder", LINEAR), holding(given, "decoder", OTHER_LINEAR)
    places = {id(one): other, id(other): one}
    swapped = [
        replace(each, place=places[id(each)].place, label=places[id(each)].label)
        if id(each) in places
        else each
        for each in given
    ]
    assert LINEAR in failing(audit(tiny_model(), "decoder", swapped))


@pytest.mark.parametrize(("target", "scheme"), ALL, ids=NAMES)
def test_zeroed_tables_and_other_weights_are_found(target: str, scheme: str) -> None:
    given = constants(target, scheme, "encoder")
    name = "image_encoder.layers.1.blocks.0.attn.attention_biases"
    table = holding(given, "encoder", name)
    zeroed = changed(given, table, np.zeros_like)
    assert name in failing(audit(tiny_model(), "encoder", zeroed))
    other = other_model()
    assert len(audit(other, "encoder", given).wrong) > 10


@cache
def other_model() -> MobileSAM:
    model = make_tiny_model()
    randomize(model, seed=1)
    return model.requires_grad_(False)


def test_a_bias_of_zeros_may_be_left_out_and_no_other() -> None:
    model = make_tiny_model()
    given = constants("torchscript", "fp32", "decoder")
    bias = holding(given, "decoder", BIAS)
    without = [one for one in given if one is not bias]
    model.get_parameter(BIAS).data.zero_()
    assert not failing(audit(model, "decoder", without))


def test_equal_tensors_may_share_a_constant() -> None:
    model = make_tiny_model()
    one, other = (
        model.get_parameter(f"mask_decoder.transformer.layers.{i}.mlp.lin2.weight")
        for i in range(2)
    )
    other.data.copy_(one.data)
    given = constants("torchscript", "fp32", "decoder")
    lost = holding(given, "decoder", LINEAR)
    shared = [each for each in given if each is not lost]
    assert not failing(audit(model, "decoder", shared))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_values_are_arranged_as_the_tensor_has_them(order: tuple[int, ...]) -> None:
    tensor = np.arange(24).reshape(2, 3, 4)
    stored = tensor.transpose(order).reshape(-1)
    assert np.array_equal(arranged(stored, tensor.shape, order), tensor)
