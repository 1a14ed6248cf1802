"""The three helpers of timm that upstream's TinyViT uses."""

from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")


class DropPath(nn.Module):
    """Drops a residual branch per sample in training; the identity in eval mode."""

    def __init__(self, drop_prob: float | None = None) -> None:
        super().__init__()
        self.drop_prob = drop_prob or 0.0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.drop_prob == 0.0:
            return x
        keep = 1.0 - self.drop_prob
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)
        return x * torch.empty(shape, dtype=x.dtype, device=x.device).bernoulli_(keep) / keep


def to_2tuple(value: T | Iterable[T]) -> tuple[T, ...]:
    """A scalar twice; an iterable as a tuple."""
    if isinstance(value, Iterable):
        return tuple(value)
    return (value, value)


trunc_normal_ = nn.init.trunc_normal_
