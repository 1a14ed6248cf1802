"""Products of two computed matrices are such in TFLite files, and no linear layers."""

from collections.abc import Callable

import pytest

from converters.modules import build_module, shorten
from mobilesam.bundle.contract import Contract
from mobilesam.model.short_decoder import MOST_SLOTS, ShortMaskDecoder
from mobilesam.runtimes.bundle import Bundle
from tests.tiny_bundles import tiny_model

GetBundle = Callable[..., Bundle]


def test_linear_layers_have_weights_of_their_own(tiny_bundle: GetBundle) -> None:
    from parity.delegates.tflite_graph import read_ops

    ops = read_ops(tiny_bundle("tflite").file("decoder", "litert"))
    assert all(op.inputs[1].constant for op in ops if op.name == "FULLY_CONNECTED")
    # Of scores and sums in two self-attentions and in five others, and of the masks.
    assert sum(op.name == "BATCH_MATMUL" for op in ops) == 2 * (2 + 5) + 1


@pytest.mark.parametrize(("slots", "short"), [(MOST_SLOTS, True), (MOST_SLOTS + 1, False)])
def test_decoders_of_many_slots_are_as_written(slots: int, short: bool) -> None:
    model = tiny_model()
    module = build_module(model, "decoder", Contract.of(model, slots=slots))
    shorten(module, "tflite", "fp32")
    assert isinstance(module.mask_decoder, ShortMaskDecoder) == short
