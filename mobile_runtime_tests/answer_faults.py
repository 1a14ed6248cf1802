"""Ways of giving an answer wrongly, by ops that every converter takes."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from mobile_runtime_tests.prompt_faults import clipped

Answer = tuple[Tensor, Tensor]
"""Logits [1, 4, S/4, S/4] and IoU predictions [1, 4]."""


def _masks(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Answer]:
    return lambda masks, iou: (change(masks), iou)


def _iou(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Answer]:
    return lambda masks, iou: (masks, change(iou))


def _each(*values: float) -> Tensor:
    """One number for each mask."""
    return torch.tensor(values).reshape(1, 4, 1, 1)


ANSWER_FAULTS: Mapping[str, Callable[[Tensor, Tensor], Answer]] = {
    "masks 1 and 2 exchanged": _masks(
        lambda masks: torch.cat([masks[:, :1], masks[:, 2:3], masks[:, 1:2], masks[:, 3:]], dim=1)
    ),
    "masks and IoU predictions turned by one": lambda masks, iou: (
        torch.cat([masks[:, 1:], masks[:, :1]], dim=1),
        torch.cat([iou[:, 1:], iou[:, :1]], dim=1),
    ),
    "one IoU prediction 0.06 too high": _iou(lambda iou: iou + _each(0, 0.06, 0, 0).reshape(1, 4)),
    "rows and columns of the masks exchanged": _masks(lambda masks: masks.transpose(2, 3) * 1),
    "two IoU predictions off, their mean right": _iou(
        lambda iou: iou + _each(0, 0.06, -0.06, 0).reshape(1, 4)
    ),
    "IoU predictions all the same": _iou(lambda iou: iou.mean(dim=1, keepdim=True) + iou * 0),
    "IoU predictions through a sigmoid": _iou(torch.sigmoid),
    "masks as probabilities": _masks(torch.sigmoid),
    "masks thresholded": _masks(lambda masks: clipped(masks * 1e6, 0, 1)),
    "masks clamped to -1 to 1": _masks(lambda masks: clipped(masks, -1, 1)),
    "two masks off, their mean right": _masks(lambda masks: masks + _each(0, 0.1, -0.1, 0)),
    "mask 3 a hundredth too large": _masks(lambda masks: masks * _each(1, 1, 1, 1.01)),
    "mask 0 replaced by mask 1": _masks(
        lambda masks: torch.cat([masks[:, 1:2], masks[:, 1:]], dim=1)
    ),
    "masks one pixel further right": _masks(
        lambda masks: torch.cat([masks[..., :1], masks[..., :-1]], dim=3)
    ),
    "the last row of the masks repeated from the one above": _masks(
        lambda masks: torch.cat([masks[:, :, :-1], masks[:, :, -2:-1]], dim=2)
    ),
}
"""Each takes what the right decoder gives."""
