"""Layer norm over channels that cannot overflow float16, for formats that compute in it."""

import torch
from torch import Tensor, nn

from mobilesam.model.layers import LayerNorm2d

SMALLEST = 1e-4
"""Least divisor: a normal float16, far below any deviation that matters beside ``eps``."""


class ScaledLayerNorm2d(nn.Module):
    """Computes what :class:`LayerNorm2d` does, on values divided by the largest of each pixel.

    The square of a deviation of 256 is beyond float16's 65,504. Divided by the pixel's largest
    deviation all of them lie within 1, their mean square between 1/C and 1, so that neither large
    nor small activations leave the format.

    Args:
        norm: the layer to replace; its parameters are shared.
    """

    def __init__(self, norm: LayerNorm2d) -> None:
        super().__init__()
        self.weight = norm.weight
        self.bias = norm.bias
        self.root_eps = norm.eps**0.5

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [B, C, H, W] over the channels."""
        centred = x - x.mean(1, keepdim=True)
        largest = centred.abs().amax(1, keepdim=True).clamp(min=SMALLEST)
        unit = centred / largest
        variance = unit.square().mean(1, keepdim=True) + (self.root_eps / largest).square()
        return unit / torch.sqrt(variance) * self.weight[:, None, None] + self.bias[:, None, None]


def scale_norms(module: nn.Module) -> nn.Module:
    """Replace every LayerNorm2d inside a module, in place."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, LayerNorm2d):
                setattr(parent, name, ScaledLayerNorm2d(child))
    return module
