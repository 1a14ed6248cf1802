"""The short decoder's answers are the decoder's, for every kind of prompt."""

import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from converters.long_sums import weighed_by_rows
from converters.modules import DecoderModule, example_inputs, shorten
from mobilesam.bundle.contract import Contract
from mobilesam.model.build import load_model
from mobilesam.model.sam import MobileSAM
from mobilesam.model.short_decoder import MOST_SLOTS, ShortMaskDecoder
from mobilesam.model.transformer import Attention
from tests.live_model import live_model
from tests.rounding import Rounding, relative_l2
from tests.tiny_bundles import tiny_model

PROMPTS = {
    "a point": ([1, -1], False),
    "points of both kinds": ([1, 0, 0, 1, 1, -1], False),
    "a box": ([2, 3], False),
    "a box and points": ([1, 0, 2, 3], False),
    "every slot": ([1, 0, 1, 0, 1, 0, 2, 3], False),
    "a mask alone": ([], True),
    "a mask and a point": ([0, -1], True),
    "a mask, a box and a point": ([1, 2, 3], True),
}
MODELS: dict[str, Callable[[], MobileSAM]] = {
    "tiny": tiny_model,
    **{str(size): partial(live_model, size) for size in (64, 256)},
}


def asked(model: MobileSAM, slots: int, kind: str) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(len(kind))
    labels, mask = PROMPTS[kind]
    low, grid = model.low_res_size, model.grid_size
    return (
        torch.randn(1, model.channels, grid, grid, generator=generator),
        torch.rand(1, slots, 2, generator=generator) * model.image_size,
        torch.tensor([[*labels, *[-2] * (slots - len(labels))]], dtype=torch.float32),
        torch.randn(1, 1, low, low, generator=generator) * 8,
        torch.tensor([float(mask)]),
    )


@pytest.mark.parametrize("slots", [8, 11])
@pytest.mark.parametrize("size", MODELS)
@pytest.mark.parametrize("kind", PROMPTS)
def test_masks_and_ious_are_the_decoders(kind: str, size: str, slots: int) -> None:
    model = MODELS[size]()
    module = DecoderModule(model, Contract.of(model, slots=slots)).eval()
    inputs = asked(model, slots, kind)
    with torch.no_grad(), Rounding() as rounding:
        wanted = module(*inputs)
    module.mask_decoder = ShortMaskDecoder(module.mask_decoder)
    with torch.no_grad():
        found = module(*inputs)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.shape == theirs.shape
        assert relative_l2(ours, theirs) <= rounding.tolerance


@pytest.mark.parametrize("slots", [2, 8])
@pytest.mark.parametrize("size", MODELS)
def test_sums_over_the_image_are_left_to_each_attention(size: str, slots: int) -> None:
    model = MODELS[size]()
    module = DecoderModule(model, Contract.of(model, slots=slots)).eval()
    inputs = asked(model, slots, "a box")
    with torch.no_grad(), Rounding() as rounding:
        wanted = module(*inputs)
    module.mask_decoder = ShortMaskDecoder(module.mask_decoder)
    summed = []

    def weighed(weights: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        summed.append(weights.shape[-1])
        return weighed_by_rows(weights, values)

    for child in module.modules():
        if isinstance(child, Attention):
            child.weigh = weighed
    with torch.no_grad():
        found = module(*inputs)
    cells = model.grid_size**2
    tokens = slots + 5
    assert sorted(summed) == sorted([cells] * 3 + [tokens] * 2)
    for ours, theirs in zip(found, wanted, strict=True):
        assert relative_l2(ours, theirs) <= rounding.tolerance


@pytest.mark.parametrize("slots", [2, MOST_SLOTS, MOST_SLOTS + 1, 64])
def test_it_is_taken_where_it_multiplies_less(slots: int) -> None:
    contract = Contract.of(load_model("demo"), slots=slots)
    module = DecoderModule(load_model("demo"), contract).eval()

    def multiplications() -> int:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            module(*example_inputs(contract, "decoder").values())
        return counter.get_total_flops()

    as_written = copy.deepcopy(module.mask_decoder)
    before = multiplications()
    shorten(module, "onnx", "fp32")
    taken = isinstance(module.mask_decoder, ShortMaskDecoder)
    module.mask_decoder = ShortMaskDecoder(as_written)
    assert taken == (multiplications() < before) == (slots <= MOST_SLOTS)


def test_it_has_the_decoders_parameters_under_their_names() -> None:
    decoder = copy.deepcopy(tiny_model().mask_decoder)
    wanted = dict(decoder.named_parameters())
    found = dict(ShortMaskDecoder(decoder).named_parameters())
    assert set(found) == set(wanted)
    changed = {name for name in found if found[name] is not wanted[name]}
    assert changed == {f"output_upscaling.{n}.{end}" for n in (0, 3) for end in ("weight", "bias")}
