"""One training step's forward pass: all prompts of a batch, their corrections, the loss."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mobilesam.model.sam import MobileSAM
from mobilesam.training.config import Stage
from mobilesam.training.dataset import Batch
from mobilesam.training.losses import Losses, promptable_loss
from mobilesam.training.prompts import KINDS, PromptBatch, correction, first_prompts

_NO_CLICK = 0.2  # share of corrections that only feed the earlier logits back
_MASK_LIMIT = 32.0  # logits fed back are clipped to it, so that no outlier of theirs is learnt


@dataclass(frozen=True)
class StepResult:
    """Loss of one batch (scalar, to be differentiated) and numbers to log."""

    loss: Tensor
    logged: dict[str, float]


def training_step(
    model: MobileSAM, batch: Batch, stage: Stage, generator: torch.Generator, *, bf16: bool
) -> StepResult:
    """Embed the images once, decode every prompt in one call, then correct and decode again.

    Args:
        model: in train mode.
        batch: B images with P masks.
        stage: prompts, rounds and loss.
        generator: source of the draws, on the CPU.
        bf16: run the model in bfloat16 autocast.
    """
    count = batch.masks.shape[1]
    masks = batch.masks.flatten(0, 1)
    valid = batch.valid.repeat_interleave(count, 0)
    rounds = int(torch.randint(1, stage.rounds + 1, (1,), generator=generator))
    prompts = first_prompts(
        masks, batch.boxes.flatten(0, 1), stage.prompt_mix, stage.rounds, generator
    )
    device = batch.images.device.type
    earlier = None
    losses: list[Losses] = []
    with torch.autocast(device, torch.bfloat16, enabled=bf16):
        embeddings = model.image_encoder(batch.images)
        embeddings = embeddings.repeat_interleave(count, 0)
        for number in range(rounds):
            if earlier is not None:
                prompts = _corrected(prompts, 2 + number, masks, earlier, valid, generator)
            logits, predictions = decode(model, embeddings, prompts, earlier)
            losses.append(promptable_loss(logits, predictions, masks, valid, stage.loss))
            ambiguous = (prompts.kinds == 0) & (number == 0)
            earlier = _fed_back(logits, predictions, ambiguous)
    total = torch.stack([loss.total for loss in losses]).mean()
    return StepResult(total, _numbers(prompts.kinds, losses, total))


def decode(
    model: MobileSAM, embeddings: Tensor, prompts: PromptBatch, earlier: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Decode N prompts, each against its own embedding.

    Args:
        model: the model.
        embeddings: [N, C, S/16, S/16].
        prompts: N prompts.
        earlier: [N, s, s] logits of an earlier pass, or None.

    Returns:
        Low-res logits [N, 4, s, s] and IoU predictions [N, 4].
    """
    encoder = model.prompt_encoder
    with torch.autocast(embeddings.device.type, enabled=False):  # bfloat16 would blur positions
        sparse = encoder.embed_points(prompts.coords, prompts.labels)
        position = encoder.image_position()
    dense = encoder.embed_no_mask() if earlier is None else encoder.embed_mask(earlier[:, None])
    # Added in float32 they would keep all that follows in it, at twice the memory.
    position, dense = position.to(embeddings.dtype), dense.to(embeddings.dtype)
    masks, iou = model.mask_decoder(embeddings, position, sparse, dense, prompts.slot_bias)
    return masks, iou


def _corrected(
    prompts: PromptBatch,
    slot: int,
    masks: Tensor,
    earlier: Tensor,
    valid: Tensor,
    generator: torch.Generator,
) -> PromptBatch:
    clicks, labels = correction(masks, earlier, valid, generator)
    given = torch.rand(len(masks), generator=generator).to(masks.device) >= _NO_CLICK
    return prompts.with_click(slot, clicks, labels, given)


def _fed_back(logits: Tensor, predictions: Tensor, ambiguous: Tensor) -> Tensor:
    """The logits [N, s, s] that inference would feed back: best of three after one click."""
    best = 1 + predictions[:, 1:].argmax(dim=1)
    chosen = torch.where(ambiguous, best, torch.zeros_like(best))
    picked = logits[torch.arange(len(logits), device=logits.device), chosen]
    return picked.detach().float().clamp(-_MASK_LIMIT, _MASK_LIMIT)


def _numbers(kinds: Tensor, losses: list[Losses], total: Tensor) -> dict[str, float]:
    """What the log keeps of a step: loss terms and mean IoU by kind of first prompt."""
    first, last = losses[0], losses[-1]
    numbers = {
        "loss": float(total.detach()),
        "mask_loss": float(first.mask),
        "iou_loss": float(first.iou),
    }
    for number, kind in enumerate(KINDS):
        chosen = kinds == number
        if not bool(chosen.any()):
            continue
        if kind == "point":
            best = first.ious[chosen, 1:].max(dim=1).values
            numbers["iou_point_best_of_three"] = float(best.mean())
        numbers[f"iou_{kind}"] = float(first.ious[chosen, 0].mean())
    if len(losses) > 1:
        numbers["iou_refined"] = float(last.ious[:, 0].mean())
    return numbers
