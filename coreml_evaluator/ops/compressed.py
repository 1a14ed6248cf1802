"""Compressed weights: quantized, palettized, sparse, and both at once.

All of it is constant: a program's compressed weights are decompressed once, when it is read. The
forms of iOS 16 pack small integers into bytes; those of iOS 18 have integer types of few bits.
Source: coremltools' MIL op reference, "constexpr" ops of iOS 16 and iOS 18.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from coreml_evaluator.arguments import Arguments, Op

BYTE = 8


def unpacked(packed: Tensor, bits: int, count: int) -> Tensor:
    """The first ``count`` integers of ``bits`` bits each, packed into bytes, lowest bits first.

    Args:
        packed: [M] bytes as integers of 0 to 255.
        bits: 1 to 8.
        count: integers to unpack.
    """
    places = torch.arange(BYTE, dtype=packed.dtype)
    stream = ((packed[:, None] >> places) & 1).flatten()[: bits * count].reshape(count, bits)
    return (stream << torch.arange(bits, dtype=packed.dtype)).sum(dim=1)


def spread(blocks: Tensor, shape: Sequence[int]) -> Tensor:
    """Each value of ``blocks`` repeated over its block, so that the result has ``shape``.

    Sides of ``shape`` are multiples of those of ``blocks``; dimensions beyond ``shape`` stay.
    """
    for axis, side in enumerate(shape):
        if blocks.shape[axis] != side:
            blocks = blocks.repeat_interleave(side // blocks.shape[axis], dim=axis)
    return blocks


def affine_dequantize(a: Arguments) -> Tensor:
    data, axis = a.tensor("quantized_data"), a.int("axis")
    along = [1] * data.dim()
    along[axis] = -1
    scale, zero = (
        part.reshape(along) if part.dim() else part
        for part in (a.tensor("scale"), a.tensor("zero_point"))
    )
    return scale * (data - zero).float()


def blockwise_shift_scale(a: Arguments) -> Tensor:
    return _shift_scale(a, a.tensor("data"))


def sparse_blockwise_shift_scale(a: Arguments) -> tuple[Tensor, Tensor]:
    mask = a.tensor("data_mask")
    dense = _shift_scale(a, _dense(a.tensor("nonzero_data"), mask))
    return mask, dense[mask != 0]


def lut_to_dense(a: Arguments) -> Tensor:
    lut = a.tensor("lut")
    if not a.given("shape"):
        return _looked_up(a, a.tensor("indices"), lut)
    shape = a.ints("shape")
    bits = int(math.log2(lut.numel()))
    indices = unpacked(a.tensor("indices"), bits, math.prod(shape))
    return lut[indices.long()].reshape(shape)


def lut_to_sparse(a: Arguments) -> tuple[Tensor, Tensor]:
    mask, lut = a.tensor("indices_mask"), a.tensor("lut")
    dense = _looked_up(a, _dense(a.tensor("indices_nonzero_data"), mask), lut)
    if dense.shape != mask.shape:
        mask = mask.repeat_interleave(lut.shape[-1], dim=a.int("vector_axis"))
    return mask, dense[mask != 0]


def sparse_to_dense(a: Arguments) -> Tensor:
    mask = a.tensor("mask")
    if a.given("shape"):
        shape = a.ints("shape")
        mask = unpacked(mask, 1, math.prod(shape)).reshape(shape)
    return _dense(a.tensor("nonzero_data"), mask)


def constexpr_cast(a: Arguments) -> Tensor:
    if a.text("output_dtype") != "fp32":
        a.refuse(f"casts to '{a.text('output_dtype')}'")
    return a.tensor("source_val")


def _dense(nonzero: Tensor, mask: Tensor) -> Tensor:
    dense = nonzero.new_zeros(mask.shape)
    dense[mask != 0] = nonzero
    return dense


def _shift_scale(a: Arguments, data: Tensor) -> Tensor:
    shifted = data.float()
    offset = a.optional("offset")
    if offset is not None:
        shifted = shifted - spread(offset, data.shape)
    return spread(a.tensor("scale"), data.shape) * shifted


def _looked_up(a: Arguments, indices: Tensor, lut: Tensor) -> Tensor:
    """Indices replaced by the vectors that their block's table has for them."""
    tables = spread(lut, indices.shape)
    chosen = indices.long()[..., None, None].expand(*indices.shape, 1, lut.shape[-1])
    vectors = tables.gather(-2, chosen).squeeze(-2)
    if lut.shape[-1] == 1:
        return vectors.squeeze(-1)
    axis = a.int("vector_axis") % indices.dim()
    return vectors.movedim(-1, axis + 1).flatten(axis, axis + 1)


OPS = {
    "constexpr_affine_dequantize": Op(affine_dequantize),
    "constexpr_blockwise_shift_scale": Op(blockwise_shift_scale),
    "constexpr_cast": Op(constexpr_cast, exact=True),
    "constexpr_lut_to_dense": Op(lut_to_dense, exact=True),
    "constexpr_lut_to_sparse": Op(lut_to_sparse, exact=True),
    "constexpr_sparse_blockwise_shift_scale": Op(sparse_blockwise_shift_scale),
    "constexpr_sparse_to_dense": Op(sparse_to_dense, exact=True),
}
