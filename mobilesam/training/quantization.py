"""Fake quantization: weights as an exported file will hold them, gradients as if they were exact.

The straight-through estimator of Bengio et al. 2013 (arXiv 1308.3432), on uniform symmetric
integers as in Jacob et al. 2018 (arXiv 1712.05877). Nothing in the module changes: the rounded
weights take the place of its parameters for one call.
"""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

_SMALLEST = 1e-9  # scale of what is all zeros


class Rounding(Protocol):
    """How a weight [C_out, C_in, ...] is rounded; ``converters`` knows it of each scheme."""

    @property
    def bits(self) -> int:
        """Of each weight, symmetric around zero."""

    @property
    def block(self) -> int:
        """Input channels of an output channel that share a scale; 0: all of them."""

    @property
    def norm(self) -> str:
        """The norm whose scale the file's weight is multiplied with; empty: none."""


def fake_quantized(weight: Tensor, bits: int, block: int = 0) -> Tensor:
    """A weight rounded to integers times a scale; its gradient goes straight to the weight.

    A scale maps the largest magnitude of what shares it to the largest integer. The scale of a
    block is stored in 16 bits with a mantissa of 7. From 8 bits on the smallest integer is not
    used.

    Args:
        weight: [C_out, ...] float32; where there are blocks [C_out, C_in], of whole blocks.
        bits: of each weight.
        block: input channels that share a scale; 0: all of them.
    """
    exact = weight.detach()
    rows = exact.reshape(-1, block) if block else exact.flatten(1)
    largest = 2 ** (bits - 1) - 1
    scale = rows.abs().amax(dim=1, keepdim=True) / largest
    if block:
        scale = scale.bfloat16().half().float()
    scale = scale.clamp(min=_SMALLEST)
    smallest = -largest if bits >= 8 else -largest - 1
    rounded = (rows / scale).round().clamp(smallest, largest) * scale
    return weight + (rounded.reshape(exact.shape) - exact)


def rounded_weight(module: nn.Module, name: str, rounding: Rounding) -> Tensor:
    """A weight as the file has it, the scale of its norm taken out again.

    Args:
        module: that the weight is of.
        name: of the parameter in the module.
        rounding: of the weight.
    """
    weight = module.get_parameter(name)
    if not rounding.norm:
        return fake_quantized(weight, rounding.bits, rounding.block)
    scale = norm_scale(module.get_submodule(rounding.norm)).detach()
    scale = torch.where(scale == 0, 1, scale)  # then the weight has no say
    return fake_quantized(weight * scale, rounding.bits, rounding.block) / scale


def norm_scale(norm: nn.Module) -> Tensor:
    """What folding a norm multiplies a weight with.

    Returns:
        [C_out, 1, 1, 1] of a batch norm in eval mode behind a convolution, [C_in] of a layer norm
        in front of a linear layer.
    """
    if isinstance(norm, nn.BatchNorm2d):
        assert norm.running_var is not None
        return (norm.weight / (norm.running_var + norm.eps).sqrt()).reshape(-1, 1, 1, 1)
    return norm.get_parameter("weight")


def run_quantized(module: nn.Module, roundings: Mapping[str, Rounding], inputs: Tensor) -> Tensor:
    """What a module answers with some of its parameters rounded.

    Args:
        module: of one input and one output.
        roundings: by the parameter's name in the module.
        inputs: of the module.
    """
    rounded = {name: rounded_weight(module, name, rounding) for name, rounding in roundings.items()}
    output: Tensor = functional_call(module, rounded, (inputs,))
    return output
