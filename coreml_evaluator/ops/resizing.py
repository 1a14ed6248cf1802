"""Ops that change the resolution of an image: pooling and upsampling."""

import torch.nn.functional as F
from torch import Tensor

from coreml_evaluator.arguments import Arguments, Op
from coreml_evaluator.ops.products import padding_of


def upsample_bilinear(a: Arguments) -> Tensor:
    x = a.tensor("x")
    size = [
        int(side * a.number(name, 1))
        for side, name in zip(
            x.shape[-2:], ("scale_factor_height", "scale_factor_width"), strict=True
        )
    ]
    if x.ndim != 4:
        a.refuse(f"has rank {x.ndim}")
    if not a.bool("half_pixel_centers", True) and not a.bool("align_corners", True):
        a.refuse("samples without half-pixel centres")
    return F.interpolate(x, size=size, mode="bilinear", align_corners=a.bool("align_corners", True))


def upsample_nearest_neighbor(a: Arguments) -> Tensor:
    scale = [a.number(name, 1) for name in ("scale_factor_height", "scale_factor_width")]
    if any(factor != int(factor) for factor in scale):
        a.refuse(f"scales by {scale}")
    x = a.tensor("x")
    for axis, factor in zip((-2, -1), scale, strict=True):
        x = x.repeat_interleave(int(factor), dim=axis)
    return x


def _pool_padding(a: Arguments, x: Tensor, kernel: list[int], strides: list[int]) -> list[int]:
    if x.ndim != 4:
        a.refuse(f"has rank {x.ndim}")
    if a.bool("ceil_mode", False):
        a.refuse("has ceil_mode")
    top, bottom, left, right = padding_of(a, list(x.shape[2:]), kernel, strides)
    return [left, right, top, bottom]


def max_pool(a: Arguments) -> Tensor:
    x, kernel = a.tensor("x"), a.ints("kernel_sizes")
    strides = a.ints("strides", [1] * len(kernel))
    pad = _pool_padding(a, x, kernel, strides)
    return F.max_pool2d(F.pad(x, pad, value=float("-inf")), kernel, strides)


def avg_pool(a: Arguments) -> Tensor:
    x, kernel = a.tensor("x"), a.ints("kernel_sizes")
    strides = a.ints("strides", [1] * len(kernel))
    pad = _pool_padding(a, x, kernel, strides)
    if any(pad) and a.bool("exclude_padding_from_average", False):
        a.refuse("excludes the padding from the average")
    return F.avg_pool2d(F.pad(x, pad), kernel, strides)


OPS = {
    "avg_pool": Op(avg_pool),
    "max_pool": Op(max_pool, exact=True),
    "upsample_bilinear": Op(upsample_bilinear),
    "upsample_nearest_neighbor": Op(upsample_nearest_neighbor, exact=True),
}
