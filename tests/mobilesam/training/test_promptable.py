"""Decoding in fixed slots, and one training step."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from mobilesam import Predictor, load_model
from mobilesam.model.point_labels import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, PADDING_POINT, UNUSED_SLOT
from mobilesam.model.sam import MobileSAM
from mobilesam.training.config import Data, PromptMix
from mobilesam.training.dataset import Batch, TrainingImages, collate
from mobilesam.training.initial import initial_model
from mobilesam.training.library import load_library
from mobilesam.training.promptable import decode, training_step
from mobilesam.training.prompts import PromptBatch
from tests.masked_folders import photo
from tests.mobilesam.training.conftest import small_stage

POINTS = np.array([[30.0, 34.0], [70.0, 20.0]])
BOX = np.array([6.0, 10.0, 52.0, 58.0])
EVEN = PromptMix(point=1, box=1, box_and_point=1)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    asked = Predictor(load_model("demo", image_size=64))
    asked.set_image(Image.fromarray(photo(0)[0]))
    return asked


@pytest.fixture(scope="module")
def batch(masked: Path, tmp_path_factory: pytest.TempPathFactory) -> Batch:
    data = Data(masks=(masked,))
    library = load_library(data, with_regions=False, cache=tmp_path_factory.mktemp("cache"))
    images = TrainingImages(library, small_stage(), 0, 0)
    return collate([images[0], images[1]])


def fresh() -> MobileSAM:
    return initial_model("vit_t", "fresh", 64, 0)


def slots(predictor: Predictor, *used: tuple[np.ndarray, int]) -> tuple[Tensor, Tensor]:
    """Coordinates and labels of one prompt in six slots, an unused one between those in use."""
    coords = torch.full((6, 2), 17.0)
    labels = torch.full((6,), float(UNUSED_SLOT))
    for slot, (xy, label) in zip((0, 1, 3, 5), used, strict=False):
        coords[slot] = torch.from_numpy(predictor.frame.coords_to_frame(xy))
        labels[slot] = label
    return coords, labels


def test_slots_answer_as_the_predictor(predictor: Predictor) -> None:
    padding = np.zeros(2), PADDING_POINT
    corners = (BOX[:2], BOX_TOP_LEFT), (BOX[2:], BOX_BOTTOM_RIGHT)
    cases: list[tuple[dict[str, Any], Any]] = [
        ({"point_coords": POINTS[:1], "point_labels": [1]}, [(POINTS[0], 1), padding]),
        ({"box": BOX}, corners),
        ({"box": BOX, "point_coords": POINTS[:1], "point_labels": [1]}, [*corners, (POINTS[0], 1)]),
        (
            {"point_coords": POINTS, "point_labels": [1, 0]},
            [(POINTS[0], 1), padding, (POINTS[1], 0)],
        ),
    ]
    drawn = [slots(predictor, *used) for _, used in cases]
    coords, labels = (torch.stack(part) for part in zip(*drawn, strict=True))
    prompts = PromptBatch(torch.zeros(len(cases)), coords, labels)
    embeddings = predictor.embedding.repeat(len(cases), 1, 1, 1)
    earlier = 4 * torch.randn(16, 16, generator=torch.Generator().manual_seed(0))
    for mask in (None, earlier):
        given = None if mask is None else mask.repeat(len(cases), 1, 1)
        with torch.no_grad():
            logits, iou = decode(predictor.model, embeddings, prompts, given)
        for number, (asked, _) in enumerate(cases):
            extra: dict[str, Any] = {} if mask is None else {"mask_input": mask[None].numpy()}
            single = predictor.predict(**asked, **extra, multimask_output=False)
            several = predictor.predict(**asked, **extra, multimask_output=True)
            expected = np.concatenate([single[2], several[2]])
            np.testing.assert_allclose(logits[number].numpy(), expected, atol=1e-4, rtol=1e-4)
            predicted = np.concatenate([single[1], several[1]])
            np.testing.assert_allclose(iou[number].numpy(), predicted, atol=1e-4)


def test_positions_are_exact_under_autocast(predictor: Predictor) -> None:
    model = predictor.model
    seen: list[tuple] = []
    hook = model.mask_decoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    coords, labels = (part[None] for part in slots(predictor, (POINTS[0], 1)))
    prompts = PromptBatch(torch.zeros(1), coords, labels)
    with torch.no_grad():
        decode(model, predictor.embedding, prompts, None)
        with torch.autocast("cpu", torch.bfloat16):
            decode(model, predictor.embedding, prompts, None)
    hook.remove()
    for plain, mixed in zip(seen[0][1:3], seen[1][1:3], strict=True):  # position and tokens
        assert torch.equal(plain, mixed)


def test_every_parameter_learns(batch: Batch) -> None:
    model = fresh()
    stage = small_stage(rounds=3, prompts=3, prompt_mix=EVEN)
    for seed in range(3):
        step = training_step(model, batch, stage, torch.Generator().manual_seed(seed), bf16=False)
        step.loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None] == []
    # A constant added to every key changes no attention: these have a gradient of zero.
    flat = {name for name, g in gradients.items() if g is not None and not g.abs().max() > 1e-12}
    assert {name for name in flat if not name.endswith("k_proj.bias")} == set()
    assert all(bool(torch.isfinite(g).all()) for g in gradients.values() if g is not None)


@pytest.mark.parametrize("bf16", [False, True])
def test_a_step_is_deterministic(batch: Batch, bf16: bool) -> None:
    model = fresh()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    stage, results = small_stage(rounds=2, prompt_mix=EVEN), []
    for seed in (7, 7, 8):
        model.load_state_dict(state)
        generator = torch.Generator().manual_seed(seed)
        results.append(training_step(model, batch, stage, generator, bf16=bf16))
    first, again, other = results
    assert first.logged == again.logged and torch.equal(first.loss, again.loss)
    assert float(first.loss.detach()) != float(other.loss.detach())
    assert np.isfinite(list(first.logged.values())).all()


def test_rounds_and_what_is_logged(batch: Batch) -> None:
    model, calls = fresh(), []

    def count(module: nn.Module, inputs: tuple) -> None:
        calls.append(inputs[2].shape)  # tokens

    model.mask_decoder.register_forward_pre_hook(count)
    passes = set()
    for seed in range(8):
        calls.clear()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            step = training_step(
                model, batch, small_stage(rounds=2, prompt_mix=EVEN), generator, bf16=False
            )
        passes.add(len(calls))
        assert set(calls) == {torch.Size([6, 4, 256])}  # one call for all, in three slots and one
        assert ("iou_refined" in step.logged) == (len(calls) == 2)
        ious = {key: value for key, value in step.logged.items() if key.startswith("iou_")}
        del ious["iou_loss"]
        assert ious and all(0 <= value <= 1 for value in ious.values())
        assert {"loss", "mask_loss", "iou_loss"} <= step.logged.keys()
    assert passes == {1, 2}
