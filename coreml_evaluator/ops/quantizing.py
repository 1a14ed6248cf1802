"""Activations quantized to 8 bits and back, as W8A8 programs do between ops.

Source: coremltools' MIL op reference, ``quantize`` and ``dequantize`` of iOS 17.
"""

import torch
from torch import Tensor

from coreml_evaluator.arguments import Arguments, Op


def quantize(a: Arguments) -> Tensor:
    x, dtype = a.tensor("input"), a.text("output_dtype")
    if dtype not in ("int8", "uint8"):
        a.refuse(f"quantizes to '{dtype}'")
    scale, zero = _along_axis(a, x)
    limits = torch.iinfo(getattr(torch, dtype))
    return ((x / scale).round() + zero).clamp(limits.min, limits.max).to(torch.int32)


def dequantize(a: Arguments) -> Tensor:
    x = a.tensor("input")
    scale, zero = _along_axis(a, x)
    return scale * (x - zero).float()


def _along_axis(a: Arguments, x: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and zero point, shaped so that a vector of them runs along the op's axis."""
    scale = a.tensor("scale")
    zero = a.optional("zero_point")
    if zero is None:
        zero = torch.zeros_like(scale, dtype=torch.int32)
    if not scale.dim():
        return scale, zero
    shape = [1] * x.dim()
    shape[a.int("axis")] = -1
    return scale.reshape(shape), zero.reshape(shape)


OPS = {
    "dequantize": Op(dequantize),
    "quantize": Op(quantize),
}
