"""Ops that multiply and accumulate: linear, matmul, einsum, convolutions, attention."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from coreml_evaluator.arguments import Arguments, Op

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def linear(a: Arguments) -> Tensor:
    return F.linear(a.tensor("x"), a.tensor("weight"), a.optional("bias"))


def matmul(a: Arguments) -> Tensor:
    x, y = a.tensor("x"), a.tensor("y")
    x = x.transpose(-1, -2) if a.bool("transpose_x", False) and x.ndim > 1 else x
    y = y.transpose(-1, -2) if a.bool("transpose_y", False) and y.ndim > 1 else y
    return x @ y


def einsum(a: Arguments) -> Tensor:
    return torch.einsum(a.text("equation"), *a.tensors("values"))


def padding_of(a: Arguments, sides: list[int], kernel: list[int], strides: list[int]) -> list[int]:
    """Values added before and after each spatial axis, for an already dilated kernel."""
    pad_type = a.text("pad_type", "valid")
    if pad_type == "valid":
        return [0] * (2 * len(sides))
    if pad_type == "custom":
        return a.ints("pad", [0] * (2 * len(sides)))
    if pad_type not in ("same", "same_lower"):
        a.refuse(f"has pad_type '{pad_type}'")
    result: list[int] = []
    for side, width, stride in zip(sides, kernel, strides, strict=True):
        # As many as make the output ceil(side / stride) long; an odd one goes to the end, or to
        # the beginning with 'same_lower'.
        total = max((math.ceil(side / stride) - 1) * stride + width - side, 0)
        less, more = total // 2, total - total // 2
        result += (less, more) if pad_type == "same" else (more, less)
    return result


def conv(a: Arguments) -> Tensor:
    x, weight = a.tensor("x"), a.tensor("weight")
    rank = x.ndim - 2
    strides, dilations = a.ints("strides", [1] * rank), a.ints("dilations", [1] * rank)
    kernel = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    pad = padding_of(a, list(x.shape[2:]), kernel, strides)
    before, after = pad[::2], pad[1::2]
    if before != after:
        pairs = list(zip(before, after, strict=True))
        x = F.pad(x, [side for pair in reversed(pairs) for side in pair])
        before = [0] * rank
    return _CONVOLUTIONS[rank](
        x, weight, a.optional("bias"), strides, before, dilations, a.int("groups", 1)
    )


def conv_transpose(a: Arguments) -> Tensor:
    x, weight = a.tensor("x"), a.tensor("weight")
    rank = x.ndim - 2
    pad_type = a.text("pad_type", "valid")
    if pad_type not in ("valid", "custom"):
        a.refuse(f"has pad_type '{pad_type}'")
    pad = a.ints("pad", [0] * (2 * rank)) if pad_type == "custom" else [0] * (2 * rank)
    strides, dilations = a.ints("strides", [1] * rank), a.ints("dilations", [1] * rank)
    full = _TRANSPOSED[rank](
        x, weight, a.optional("bias"), strides, 0, 0, a.int("groups", 1), dilations
    )
    wanted = a.ints("output_shape", full.shape)[2:] if a.given("output_shape") else None
    for axis in range(rank):
        before, after = pad[2 * axis], pad[2 * axis + 1]
        length = full.shape[2 + axis] - before - after
        if wanted is not None and wanted[axis] != length:
            a.refuse(f"wants an output of {wanted[axis]} where its strides and pads give {length}")
        full = full.narrow(2 + axis, before, length)
    return full


def attention(a: Arguments) -> Tensor:
    mask = a.optional("attn_mask")
    return F.scaled_dot_product_attention(
        a.tensor("query"), a.tensor("key"), a.tensor("value"), attn_mask=mask
    )


OPS = {
    "conv": Op(conv),
    "conv_transpose": Op(conv_transpose),
    "einsum": Op(einsum),
    "linear": Op(linear),
    "matmul": Op(matmul),
    "scaled_dot_product_attention": Op(attention),
}
