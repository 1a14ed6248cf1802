"""Losses of promptable training, one number for each predicted mask.

Focal loss: Lin et al. 2017 (arXiv 1708.02002); dice: Milletari et al. 2016 (arXiv 1606.04797); the
minimum over the masks of an ambiguous prompt: Kirillov et al. 2023 (arXiv 2304.02643, section 3).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mobilesam.training.config import LossWeights

_ALPHA, _GAMMA = 0.25, 2.0  # SAM's focal loss
_LOSERS = 0.05  # share of the three masks' loss that is spread over all of them: none may die


class Losses(NamedTuple):
    """Loss of a batch of prompts, and what is worth logging (detached).

    Attributes:
        total: scalar.
        mask: scalar, the part that is about masks. iou: scalar, about the IoU predictions.
        ious: [N, 4], true IoU of every predicted mask.
    """

    total: Tensor
    mask: Tensor
    iou: Tensor
    ious: Tensor


def promptable_loss(
    logits: Tensor, predictions: Tensor, targets: Tensor, valid: Tensor, weights: LossWeights
) -> Losses:
    """Loss of the four masks predicted for each of N prompts.

    Mask 0 and the best of masks 1 to 3 both learn from every prompt: mask 0 is what a box or
    several clicks get, the best of three what a single click gets.

    Args:
        logits: [N, 4, s, s]. predictions: [N, 4] predicted IoU.
        targets: [N, s, s], 0 or 1. valid: [N, s, s], 1 where the frame is image, 0 in its padding.
        weights: of the terms.
    """
    logits, predictions = logits.float(), predictions.float()
    targets, valid = targets.float()[:, None], valid.float()[:, None]
    each = mask_losses(logits, targets, valid, weights)
    several = each[:, 1:]
    best = several.min(dim=1).values
    mask = (each[:, 0] + (1 - _LOSERS) * best + _LOSERS * several.mean(dim=1)).mean()
    true = mask_iou(logits, targets, valid)
    iou = F.mse_loss(predictions, true)
    return Losses(mask + weights.iou * iou, mask.detach(), iou.detach(), true)


def mask_losses(logits: Tensor, targets: Tensor, valid: Tensor, weights: LossWeights) -> Tensor:
    """[N, 4] weighted mask losses of logits [N, 4, s, s] against targets [N, 1, s, s]."""
    total = logits.new_zeros(logits.shape[:2])
    entropy = F.binary_cross_entropy_with_logits(
        logits, targets.expand_as(logits), reduction="none"
    )
    probability = logits.sigmoid()
    if weights.balanced:
        inside = _mean(entropy, targets * valid)
        outside = _mean(entropy, (1 - targets) * valid)
        total = total + weights.balanced * 0.5 * (inside + outside)
    if weights.focal:
        missed = probability + targets - 2 * probability * targets
        scale = _ALPHA * targets + (1 - _ALPHA) * (1 - targets)
        total = total + weights.focal * _mean(scale * missed**_GAMMA * entropy, valid)
    if weights.dice:
        probability = probability * valid
        overlap = (probability * targets).sum(dim=(2, 3))
        sizes = probability.sum(dim=(2, 3)) + targets.sum(dim=(2, 3))
        total = total + weights.dice * (1 - (2 * overlap + 1) / (sizes + 1))
    return total


@torch.no_grad()
def mask_iou(logits: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """[N, 4] IoU of the masks (logits above 0) with the targets, inside the image."""
    found = (logits > 0).float() * valid
    overlap = (found * targets).sum(dim=(2, 3))
    union = torch.maximum(found, targets * valid).sum(dim=(2, 3))
    return overlap / union.clamp(min=1)


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over the last two dimensions."""
    return (values * weights).sum(dim=(2, 3)) / weights.sum(dim=(2, 3)).clamp(min=1)
