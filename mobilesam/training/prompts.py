"""Drawing prompts as SAM's training does: clicks, noisy boxes, then clicks where masks are wrong.

Everything is done on the low-res grid (S/4), for all masks of a batch at once. Source: Kirillov et
al. 2023, arXiv 2304.02643, appendix A ("Training algorithm").
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
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

KINDS = ("point", "box", "box_and_point")
"""Kinds of first prompts; the number of a kind is its place here."""

_CELL = 4  # pixels of the frame to one cell of the low-res grid
_MAX_BOX_NOISE = 20.0  # pixels, as in SAM


@dataclass(frozen=True)
class PromptBatch:
    """Prompts of N masks in fixed slots.

    Attributes:
        kinds: [N] int64, see :data:`KINDS`.
        coords: [N, K, 2] float, x, y in pixels of the SxS frame.
        labels: [N, K] float, as the prompt encoder takes them; -2 marks an unused slot.
    """

    kinds: Tensor
    coords: Tensor
    labels: Tensor

    @property
    def slot_bias(self) -> Tensor:
        """[N, K], zero for a slot in use and very negative for an unused one."""
        return torch.where(self.labels == UNUSED_SLOT, -1e9, 0.0)

    def with_click(self, slot: int, xy: Tensor, labels: Tensor, given: Tensor) -> "PromptBatch":
        """The prompts with one more click [N, 2], labelled [N], where ``given`` [N] says so."""
        coords, all_labels = self.coords.clone(), self.labels.clone()
        coords[:, slot] = torch.where(given[:, None], xy, coords[:, slot])
        all_labels[:, slot] = torch.where(given, labels, all_labels[:, slot])
        return PromptBatch(self.kinds, coords, all_labels)


def first_prompts(
    masks: Tensor, boxes: Tensor, mix: PromptMix, rounds: int, generator: torch.Generator
) -> PromptBatch:
    """First prompts for N masks.

    Args:
        masks: [N, s, s] bool or float 0/1, none of them empty.
        boxes: [N, 4] tight boxes x1, y1, x2, y2 in the frame.
        mix: how often each kind is drawn.
        rounds: passes to leave slots for.
        generator: source of the draws, on the CPU.
    """
    count, device = masks.shape[0], masks.device
    shares = torch.tensor([mix.point, mix.box, mix.box_and_point])
    kinds = torch.multinomial(shares, count, replacement=True, generator=generator).to(device)
    clicks = click_inside(masks, generator)
    noisy = _jittered(boxes, mix.box_noise, masks.shape[-1] * _CELL, generator)
    slots = 3 + rounds - 1
    coords = masks.new_zeros(count, slots, 2, dtype=torch.float32)
    labels = torch.full((count, slots), float(UNUSED_SLOT), device=device)
    is_point, has_click = kinds == 0, kinds != 1
    coords[:, 0] = torch.where(is_point[:, None], clicks, noisy[:, :2])
    coords[:, 1] = torch.where(is_point[:, None], torch.zeros_like(clicks), noisy[:, 2:])
    coords[:, 2] = clicks
    labels[:, 0] = torch.where(is_point, FOREGROUND, BOX_TOP_LEFT).float()
    labels[:, 1] = torch.where(is_point, PADDING_POINT, BOX_BOTTOM_RIGHT).float()
    labels[:, 2] = torch.where(has_click & ~is_point, FOREGROUND, UNUSED_SLOT).float()
    return PromptBatch(kinds, coords, labels)


def correction(
    masks: Tensor, logits: Tensor, valid: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A click where a prediction is wrong: [N, 2] x, y in the frame and [N] labels.

    Drawn from the pixels that are wrong, false negatives and false positives alike, and from the
    mask where nothing is. Args: masks [N, s, s], logits [N, s, s], valid [N, s, s] (part of the
    frame that is image).
    """
    wanted = masks > 0.5
    wrong = (wanted != (logits > 0)) & (valid > 0)
    anything = wrong.flatten(1).any(dim=1)
    region = torch.where(anything[:, None, None], wrong, wanted)
    cells = _draw(region.float(), generator)
    inside = wanted.flatten(1).gather(1, cells[:, None]).squeeze(1)
    labels = torch.where(inside, FOREGROUND, BACKGROUND).float()
    return _positions(cells, masks.shape[-1], generator), labels


def click_inside(masks: Tensor, generator: torch.Generator) -> Tensor:
    """A click [N, 2] inside each mask [N, s, s], mostly well inside."""
    return _positions(_draw(masks.float(), generator), masks.shape[-1], generator)


def _draw(region: Tensor, generator: torch.Generator) -> Tensor:
    """The number [N] of a cell in each region [N, s, s], deep ones preferred."""
    kernel = max(3, region.shape[-1] // 10 // 2 * 2 + 1)
    depth = F.avg_pool2d(region[:, None], kernel, 1, kernel // 2)[:, 0]
    weights = (region * (depth**2 + 1e-4)).flatten(1)
    return torch.multinomial(weights.cpu(), 1, generator=generator)[:, 0].to(region.device)


def _positions(cells: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """A random place [N, 2] in each numbered cell, x, y in pixels of the frame."""
    corner = torch.stack([cells % side, cells // side], dim=1).float()
    within = torch.rand(corner.shape, generator=generator).to(cells.device)
    return (corner + within) * _CELL - 0.5


def _jittered(boxes: Tensor, noise: float, size: int, generator: torch.Generator) -> Tensor:
    """Boxes [N, 4] with normal errors in their corners, at least a pixel wide and high."""
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    errors = torch.randn(boxes.shape, generator=generator).to(boxes.device) * noise * sides
    moved = (boxes + errors.clamp(-_MAX_BOX_NOISE, _MAX_BOX_NOISE)).clamp(0, size)
    low = torch.minimum(moved[:, :2], moved[:, 2:]).clamp(max=size - 1)
    return torch.cat([low, torch.maximum(torch.maximum(moved[:, :2], moved[:, 2:]), low + 1)], 1)
