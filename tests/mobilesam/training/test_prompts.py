"""Prompts lie where SAM's training wants them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mobilesam.model.point_labels import (
    BACKGROUND,
    BOX_BOTTOM_RIGHT,
    BOX_TOP_LEFT,
    FOREGROUND,
    PADDING_POINT,
    UNUSED_SLOT,
)
from mobilesam.training.config import PromptMix
from mobilesam.training.prompts import KINDS, PromptBatch, click_inside, correction, first_prompts

SIDE = 16
FRAME = 4 * SIDE
quick = settings(max_examples=60, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cells(xy: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of the low-res cell in which a place in the frame lies."""
    numbers = torch.floor((xy + 0.5) / 4).long()
    return numbers[:, 1], numbers[:, 0]


def at(grids: Tensor, xy: Tensor) -> Tensor:
    """Each grid's value at each place."""
    rows, columns = cells(xy)
    return grids[torch.arange(len(grids)), rows, columns]


def random_masks(seed: int, count: int = 6) -> Tensor:
    """Masks of all sorts, none empty: bars, single cells, noise."""
    random = np.random.default_rng(seed)
    masks = np.zeros((count, SIDE, SIDE), np.uint8)
    for mask in masks:
        top, left = random.integers(0, SIDE, 2)
        height, width = random.choice([1, 1, 2, 5, SIDE], 2)
        mask[top : top + height, left : left + width] = 1
        if random.random() < 0.3:
            mask |= random.random((SIDE, SIDE)) < 0.2
    return torch.from_numpy(masks)


def boxes_of(masks: Tensor) -> Tensor:
    """Tight boxes in the frame."""
    found = []
    for mask in masks:
        rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        corners = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        found.append([4.0 * float(corner) for corner in corners])
    return torch.tensor(found)


@quick
@given(seeds)
def test_clicks_lie_inside(seed: int) -> None:
    masks = random_masks(seed)
    assert (at(masks, click_inside(masks, generator(seed))) == 1).all()


def test_clicks_prefer_the_inside() -> None:
    mask = torch.zeros(1, SIDE, SIDE)
    mask[0, 2:14, 2:14] = 1
    rows, columns = cells(click_inside(mask.expand(2000, -1, -1), generator()))
    rim = ((rows == 2) | (rows == 13) | (columns == 2) | (columns == 13)).float().mean()
    assert 0 < float(rim) < 0.25  # 44 of 144 cells


def test_every_cell_of_a_mask_can_be_clicked() -> None:
    mask = torch.zeros(1, SIDE, SIDE)
    mask[0, 3, 2:6] = mask[0, 10, 15] = 1
    xy = click_inside(mask.expand(600, -1, -1), generator())
    rows, columns = cells(xy)
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == {
        (3, 2), (3, 3), (3, 4), (3, 5), (10, 15),
    }  # fmt: skip
    assert float(xy.min()) >= -0.5 and float(xy.max()) < FRAME - 0.5


@quick
@given(seeds, st.floats(0, 1))
def test_box_noise_is_bounded(seed: int, noise: float) -> None:
    masks = random_masks(seed)
    boxes = boxes_of(masks)
    mix = PromptMix(point=0, box=1, box_and_point=0, box_noise=noise)
    prompts = first_prompts(masks, boxes, mix, 1, generator(seed))
    noisy = prompts.coords[:, :2].reshape(-1, 4)
    assert float((noisy - boxes).abs().max()) <= 20 + 1e-3
    assert float(noisy.min()) >= 0 and float(noisy.max()) <= FRAME
    assert float((noisy[:, 2:] - noisy[:, :2]).min()) >= 1 - 1e-3


def test_box_noise_follows_the_side() -> None:
    boxes = torch.tensor([[8.0, 8.0, 48.0, 28.0]]).repeat(1500, 1)
    masks = torch.ones(1500, SIDE, SIDE, dtype=torch.uint8)
    for noise in (0.0, 0.1):
        mix = PromptMix(point=0, box=1, box_and_point=0, box_noise=noise)
        coords = first_prompts(masks, boxes, mix, 1, generator()).coords[:, :2]
        spread = (coords.reshape(-1, 4) - boxes).std(dim=0)
        torch.testing.assert_close(
            spread, noise * torch.tensor([40.0, 20, 40, 20]), rtol=0.1, atol=0
        )


def test_slots_by_kind() -> None:
    masks = random_masks(1).repeat(40, 1, 1)
    mix = PromptMix(point=1, box=1, box_and_point=1, box_noise=0)
    prompts = first_prompts(masks, boxes_of(masks), mix, 3, generator())
    assert prompts.coords.shape == (240, 5, 2) and prompts.labels.shape == (240, 5)
    corners = [BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]
    expected = {
        "point": [FOREGROUND, PADDING_POINT, UNUSED_SLOT],
        "box": [*corners, UNUSED_SLOT],
        "box_and_point": [*corners, FOREGROUND],
    }
    for number, kind in enumerate(KINDS):
        chosen = prompts.kinds == number
        assert 50 < int(chosen.sum()) < 110
        wanted = torch.tensor([*expected[kind], UNUSED_SLOT, UNUSED_SLOT]).float()
        assert (prompts.labels[chosen] == wanted).all()
        click = {"point": 0, "box_and_point": 2}.get(kind)
        if click is not None:
            assert at(masks[chosen], prompts.coords[chosen, click]).all()
        if kind != "point":
            corner_pairs = prompts.coords[chosen, :2].reshape(-1, 4)
            assert torch.equal(corner_pairs, boxes_of(masks)[chosen])
    unused = prompts.labels == UNUSED_SLOT
    assert (prompts.slot_bias[unused] <= -1e8).all() and (prompts.slot_bias[~unused] == 0).all()


def test_kinds_are_drawn_as_often_as_asked() -> None:
    masks = torch.ones(1500, SIDE, SIDE, dtype=torch.uint8)
    mix = PromptMix(point=1.0, box=0.8, box_and_point=0.2)
    kinds = first_prompts(masks, boxes_of(masks), mix, 1, generator()).kinds
    shares = torch.bincount(kinds, minlength=3) / 1500
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.4, 0.1]), rtol=0, atol=0.05)


def test_same_generator_same_prompts() -> None:
    masks = random_masks(3)
    drawn = [
        first_prompts(masks, boxes_of(masks), PromptMix(), 2, generator(seed)) for seed in (4, 4, 5)
    ]
    assert torch.equal(drawn[0].coords, drawn[1].coords)
    assert torch.equal(drawn[0].kinds, drawn[1].kinds)
    assert not torch.equal(drawn[0].coords, drawn[2].coords)
    logits, valid = torch.randn(masks.shape, generator=generator()), torch.ones_like(masks)
    first, again = (correction(masks, logits, valid, generator(9)) for _ in range(2))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])


@quick
@given(seeds, st.integers(3, SIDE), st.integers(3, SIDE))
def test_corrections_lie_on_errors(seed: int, height: int, width: int) -> None:
    valid = torch.zeros(6, SIDE, SIDE, dtype=torch.uint8)
    valid[:, :height, :width] = 1
    masks = random_masks(seed) * valid
    masks[:, 1, 1] = 1
    logits = 5.0 * torch.randn(masks.shape, generator=generator(seed))
    logits[:2] = torch.where(masks[:2] > 0, 3.0, -3.0)  # two that are right ...
    logits[1][valid[1] == 0] = 9.0  # ... one of them up to the padding
    xy, labels = correction(masks, logits, valid, generator(seed))
    wanted, found = at(masks, xy) == 1, at(logits, xy) > 0
    assert (at(valid, xy) == 1).all()
    assert torch.equal(labels, torch.where(wanted, FOREGROUND, BACKGROUND).float())
    assert wanted[:2].all() and (labels[:2] == FOREGROUND).all()
    anything = ((masks > 0) != (logits > 0))[2:].logical_and(valid[2:] > 0).flatten(1).any(1)
    assert (wanted != found)[2:][anything].all()


def test_both_kinds_of_error_are_corrected() -> None:
    masks = torch.zeros(500, SIDE, SIDE)
    masks[:, 2:8, 2:8] = 1
    logits = torch.full_like(masks, -1.0)
    logits[:, 2:8, 5:11] = 1.0
    _, labels = correction(masks, logits, torch.ones_like(masks), generator())
    assert 150 < int(labels.sum()) < 350


@pytest.mark.parametrize("slot", [2, 3])
def test_a_click_is_added_where_it_is_given(slot: int) -> None:
    before = PromptBatch(
        torch.zeros(2, dtype=torch.int64), torch.zeros(2, 4, 2), torch.full((2, 4), -2.0)
    )
    xy = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    after = before.with_click(slot, xy, torch.tensor([1.0, 0.0]), torch.tensor([False, True]))
    assert (after.labels[0] == UNUSED_SLOT).all() and (after.coords[0] == 0).all()
    assert after.labels[1, slot] == BACKGROUND and torch.equal(after.coords[1, slot], xy[1])
    assert int((after.labels != UNUSED_SLOT).sum()) == 1
    assert (before.labels == UNUSED_SLOT).all()
