"""The contract's modules give the reference's answers: static slots, preprocessing variants."""

import numpy as np
import pytest
import torch
from torch import Tensor

from converters.half import to_half
from converters.kept import Keep, bounded, looked_up, selected
from converters.modules import DecoderModule, EncoderModule, build_module, example_inputs
from mobilesam.bundle.contract import Contract, pack_prompt
from mobilesam.errors import ExportError
from mobilesam.inference.predictor import Predictor
from mobilesam.inference.prompts import Prompt, make_prompt
from mobilesam.inference.transforms import Frame, normalized_input, pixels_input
from tests.live_model import live_model
from tests.rounding import Rounding, relative_l2

PHOTO = (180, 240)  # height, width; not square, so that axes cannot be exchanged unnoticed


def random_prompt(
    points: int, box: bool, mask: bool, *, low_res: int, rng: np.random.Generator
) -> Prompt:
    height, width = PHOTO
    coords = rng.uniform(0, 1, (points, 2)) * (width - 1, height - 1)
    return make_prompt(
        coords if points else None,
        (np.arange(points) + 1) % 2 if points else None,
        np.array([20.5, 30.0, 200.0, 150.25]) if box else None,
        rng.normal(0, 8, (1, low_res, low_res)).astype(np.float32) if mask else None,
        original_size=PHOTO,
        low_res_size=low_res,
    )


def both_answers(
    size: int, slots: int, points: int, box: bool, mask: bool, garbage: float | None = None
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], float]:
    """The fixed-K module's answer, the reference's when called with only the real points, and by
    how much they may differ."""
    model = live_model(size)
    contract = Contract.of(model, slots=slots)
    rng = np.random.default_rng(points + 10 * box + 20 * mask)
    frame = Frame(PHOTO, size)
    prompt = random_prompt(points, box, mask, low_res=model.low_res_size, rng=rng)
    embedding = torch.from_numpy(
        rng.normal(0, 1, (1, model.channels, model.grid_size, model.grid_size)).astype(np.float32)
    )
    packed = pack_prompt(prompt, frame, contract)
    if garbage is not None:
        packed["point_coords"][packed["point_labels"] == -2] = garbage
    if not mask:
        packed["mask_input"][:] = 5.0  # must be ignored
    module = build_module(model, "decoder", contract)
    with torch.no_grad(), Rounding() as rounding:
        found = module(embedding, **{name: torch.from_numpy(a) for name, a in packed.items()})
    predictor = Predictor(model)
    predictor.set_embedding(embedding, frame)
    return found, predictor.decode(prompt), rounding.tolerance


CASES = [
    (points, box, mask)
    for points in range(9)
    for box in (False, True)
    for mask in (False, True)
    if points + (2 if box else bool(points)) <= 8 and (points or box or mask)
]


@pytest.mark.parametrize(("points", "box", "mask"), CASES)
def test_every_number_of_used_slots_gives_the_references_answer(
    points: int, box: bool, mask: bool
) -> None:
    found, wanted, limit = both_answers(256, 8, points, box, mask)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.shape == theirs.shape
        assert relative_l2(ours, theirs) <= limit


def test_the_cases_fill_one_to_all_eight_slots() -> None:
    used = {points + (2 if box else bool(points)) for points, box, _ in CASES}
    assert used >= set(range(2, 9))


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize(("slots", "points", "box"), [(10, 8, True), (10, 8, False), (9, 8, False)])
def test_eight_clicks_fit_decoders_with_more_slots(
    slots: int, points: int, box: bool, mask: bool
) -> None:
    found, wanted, limit = both_answers(256, slots, points, box, mask)
    for ours, theirs in zip(found, wanted, strict=True):
        assert relative_l2(ours, theirs) <= limit


@pytest.mark.slow
@pytest.mark.parametrize(("points", "box", "mask"), [(1, False, False), (3, True, True)])
def test_slots_work_at_full_size(points: int, box: bool, mask: bool) -> None:
    found, wanted, limit = both_answers(1024, 8, points, box, mask)
    for ours, theirs in zip(found, wanted, strict=True):
        assert relative_l2(ours, theirs) <= limit


@pytest.mark.parametrize("garbage", [-1e4, 0.25, 987.0, 1e6])
def test_coordinates_of_unused_slots_do_not_matter(garbage: float) -> None:
    clean, *_ = both_answers(256, 8, 2, False, False)
    dirty, *_ = both_answers(256, 8, 2, False, False, garbage=garbage)
    for a, b in zip(clean, dirty, strict=True):
        assert torch.equal(a, b)


LEFT_OVER = [0.25, -1e4, 1e30, float("inf"), float("-inf"), float("nan")]


@pytest.mark.parametrize("keep", [selected, bounded, looked_up])
@pytest.mark.parametrize("left_over", LEFT_OVER)
def test_what_lies_in_unused_inputs_reaches_no_mask(keep: Keep, left_over: float) -> None:
    if keep is bounded and np.isnan(left_over):
        pytest.skip("PyTorch's minimum and maximum pass NaN on; LiteRT's are tested in its files")
    model = live_model()
    contract = Contract.of(model)
    module = build_module(model, "decoder", contract)
    assert isinstance(module, DecoderModule)
    module.keep = keep
    inputs = example_inputs(contract, "decoder")
    inputs["has_mask_input"][:] = 0
    inputs["point_labels"][0, 4] = -1
    with torch.no_grad():
        clean = module(**inputs)
        inputs["mask_input"][:] = left_over
        inputs["point_coords"][inputs["point_labels"] < 0] = left_over
        dirty = module(**inputs)
    for a, b in zip(clean, dirty, strict=True):
        assert torch.isfinite(a).all() and torch.equal(a, b)


@pytest.mark.parametrize("keep", [selected, bounded, looked_up])
def test_what_counts_is_kept_as_it_is(keep: Keep) -> None:
    values = torch.randn(1, 9, 2, generator=torch.Generator().manual_seed(0)) * 30
    assert torch.equal(keep(values, torch.ones(1, 9)), values)
    wanted = torch.tensor([[1.0, 0, 1, 1, 0, 0, 1, 0, 1]])
    assert torch.equal(keep(values, wanted), values * wanted.unsqueeze(-1))
    logits = values.reshape(1, 1, 18)
    assert torch.equal(keep(logits, torch.ones(1, 1)), logits)
    assert not keep(logits, torch.zeros(1, 1)).any()


def test_an_unmasked_slot_would_be_seen() -> None:
    """The equalities above could not hold if attention saw unused slots."""
    model = live_model()
    contract = Contract.of(model)
    module = build_module(model, "decoder", contract)
    inputs = example_inputs(contract, "decoder")
    with torch.no_grad():
        masked, _ = module(**inputs)
        inputs["point_labels"] = inputs["point_labels"].clamp(min=-1)
        seen, _ = module(**inputs)
    assert relative_l2(seen, masked) > 1e-2


@pytest.mark.parametrize("variant", ["pixels", "normalized"])
@pytest.mark.parametrize("shape", [(256, 171, 3), (100, 256, 3), (256, 256, 3), (37, 50, 3)])
def test_both_variants_of_the_encoder_equal_the_reference(
    variant: str, shape: tuple[int, ...]
) -> None:
    model = live_model()
    image = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    contract = Contract.of(model, input_variant=variant)  # type: ignore[arg-type]
    module = build_module(model, "encoder", contract)
    normalized = torch.from_numpy(normalized_input(image, model.image_size))
    if variant == "pixels":
        pixels, valid = pixels_input(image, model.image_size)
        inputs = [torch.from_numpy(pixels), torch.from_numpy(valid)]
    else:
        inputs = [normalized]
    with torch.no_grad():
        with Rounding() as rounding:
            found = module(*inputs)
        assert relative_l2(found, model.image_encoder(normalized)) <= rounding.tolerance


def test_padding_is_exact_zeros_whatever_the_app_puts_there() -> None:
    """SAM pads after normalising; in variant ``pixels`` black or noise must not come through."""
    model = live_model()
    module = build_module(model, "encoder", Contract.of(model))
    assert isinstance(module, EncoderModule)
    seen: list[Tensor] = []
    module.image_encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = torch.full((1, 3, 256, 256), 200.0)
    with torch.no_grad():
        module(image, torch.tensor([100.0, 256.0]))
        module(image, torch.tensor([256.0, 31.0]))
    assert torch.equal(seen[0][:, :, 100:], torch.zeros(1, 3, 156, 256))
    assert (seen[0][:, :, :100] > 1).all()
    assert torch.equal(seen[1][..., 31:], torch.zeros(1, 3, 256, 225))
    assert (seen[1][..., :31] > 1).all()


def test_the_pixels_variant_insists_on_the_valid_size() -> None:
    module = build_module(live_model(), "encoder", Contract.of(live_model()))
    with pytest.raises(ExportError, match="valid_size"):
        module(torch.zeros(1, 3, 256, 256))


@pytest.mark.parametrize("name", ["", "image_encoder.layers.0.blocks.1.conv3.bn"])
def test_train_mode_is_refused_even_deep_inside(name: str) -> None:
    model = live_model()
    module = model.get_submodule(name)
    module.training = True
    try:
        with pytest.raises(ExportError, match=rf"train mode.*'{name or 'model'}'.*eval\(\)"):
            build_module(model, "decoder", Contract.of(model))
    finally:
        module.training = False


def test_building_modules_leaves_the_model_alone() -> None:
    model = live_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    contract = Contract.of(model)
    to_half(build_module(model, "encoder", contract))
    to_half(build_module(model, "decoder", contract))
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("component", ["encoder", "decoder"])
def test_examples_have_the_contracts_shapes(component: str) -> None:
    contract = Contract.of(live_model())
    signature = contract.signature(component)  # type: ignore[arg-type]
    inputs = example_inputs(contract, component)  # type: ignore[arg-type]
    assert list(inputs) == [spec.name for spec in signature.inputs]
    for spec in signature.inputs:
        assert tuple(inputs[spec.name].shape) == spec.shape
        assert inputs[spec.name].dtype == torch.float32
        assert len(spec.axes) == len(spec.shape)


@pytest.mark.parametrize("component", ["encoder", "decoder"])
def test_half_modules_keep_float_borders_and_positions(component: str) -> None:
    contract = Contract.of(live_model())
    inputs = example_inputs(contract, component)  # type: ignore[arg-type]
    module = build_module(live_model(), component, contract)  # type: ignore[arg-type]
    with torch.no_grad():
        wanted = module(**inputs)
        found = to_half(module)(**inputs)
    if component == "encoder":
        wanted, found = (wanted,), (found,)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.dtype == torch.float32
        assert 1e-6 < relative_l2(ours, theirs) <= 5e-3
    if isinstance(module, DecoderModule):
        kinds = {p.dtype for p in module.prompt_encoder.state_dict().values()}
        assert kinds == {torch.float32}
    large = [p for p in module.parameters() if p.numel() > 10_000]
    assert large and all(p.dtype == torch.float16 for p in large)
