"""Ops that move values without changing them, and those that make tensors of given shapes."""

import torch
import torch.nn.functional as F
from torch import Tensor

from coreml_evaluator.arguments import IOS17, Arguments, Op


def reshape(a: Arguments) -> Tensor:
    x, shape = a.tensor("x"), a.ints("shape")
    if 0 in shape and len(shape) != x.ndim and a.opset < IOS17:
        a.refuse("inherits a dimension of a tensor of another rank")
    # A 0 is the side that x has there, counted from the last; beyond x's rank it is 1.
    inherited = ([1] * len(shape) + list(x.shape))[-len(shape) :] if shape else []
    return x.reshape([old if new == 0 else new for old, new in zip(inherited, shape, strict=True)])


def transpose(a: Arguments) -> Tensor:
    return a.tensor("x").permute(a.ints("perm"))


def expand_dims(a: Arguments) -> Tensor:
    x, axes = a.tensor("x"), a.ints("axes")
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def squeeze(a: Arguments) -> Tensor:
    x = a.tensor("x")
    if not a.given("axes"):
        return x.squeeze()
    axes = a.ints("axes")
    if any(x.shape[axis] != 1 for axis in axes):
        a.refuse("squeezes an axis longer than 1")
    return x.squeeze(axes)


def concat(a: Arguments) -> Tensor:
    if a.bool("interleave", False):
        a.refuse("interleaves")
    return torch.cat(a.tensors("values"), dim=a.int("axis"))


def stack(a: Arguments) -> Tensor:
    return torch.stack(a.tensors("values"), dim=a.int("axis"))


def split(a: Arguments) -> tuple[Tensor, ...]:
    x, axis = a.tensor("x"), a.int("axis")
    if a.given("split_sizes"):
        return x.split(a.ints("split_sizes"), dim=axis)
    parts = a.int("num_splits")
    if x.shape[axis] % parts:
        a.refuse(f"splits {x.shape[axis]} values into {parts} parts")
    return x.split(x.shape[axis] // parts, dim=axis)


def tile(a: Arguments) -> Tensor:
    return a.tensor("x").repeat(a.ints("reps"))


def pad(a: Arguments) -> Tensor:
    x, mode = a.tensor("x"), a.text("mode", "constant")
    pairs = torch.tensor(a.ints("pad")).reshape(-1, 2)
    reversed_pairs = pairs.flip(0).reshape(-1).tolist()  # torch counts from the last dimension
    if mode == "constant":
        return F.pad(x, reversed_pairs, value=a.number("constant_val", 0.0))
    if mode not in ("reflect", "replicate"):
        a.refuse(f"has mode '{mode}'")
    for axis, (before, after) in enumerate(pairs.tolist(), start=x.ndim - len(pairs)):
        if before or after:
            x = _pad_axis(x, axis, before, after, mode)
    return x


def _pad_axis(x: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    moved = x.movedim(axis, -1)
    padded = F.pad(moved.reshape(1, -1, moved.shape[-1]), (before, after), mode=mode)
    return padded.reshape(*moved.shape[:-1], -1).movedim(-1, axis)


def reverse(a: Arguments) -> Tensor:
    x = a.tensor("x")
    return x.flip(a.ints("axes", range(x.ndim)))


def shape(a: Arguments) -> Tensor:
    return torch.tensor(a.tensor("x").shape, dtype=torch.int32)


def fill(a: Arguments) -> Tensor:
    value = a.optional("value")
    return (torch.zeros(()) if value is None else value).repeat(a.ints("shape"))


def fill_like(a: Arguments) -> Tensor:
    value = a.optional("value")
    return (torch.zeros(()) if value is None else value).repeat(a.tensor("ref_tensor").shape)


def range_1d(a: Arguments) -> Tensor:
    start, end, step = (a.tensor(name) for name in ("start", "end", "step"))
    return torch.arange(start.item(), end.item(), step.item(), dtype=start.dtype)


def depth_to_space(a: Arguments) -> Tensor:
    # Core ML's order is TensorFlow's (block row, block column, channel); pixel_shuffle's is
    # (channel, block row, block column).
    x, block = a.tensor("x"), a.int("block_size")
    batch, channels, height, width = x.shape
    x = x.reshape(batch, block, block, channels // block**2, height, width)
    return x.permute(0, 3, 4, 1, 5, 2).reshape(batch, -1, height * block, width * block)


OPS = {
    "concat": Op(concat, exact=True),
    "depth_to_space": Op(depth_to_space, exact=True),
    "expand_dims": Op(expand_dims, exact=True),
    "fill": Op(fill, exact=True),
    "fill_like": Op(fill_like, exact=True),
    "flatten2d": Op(lambda a: _flatten2d(a.tensor("x"), a.int("axis", 1)), exact=True),
    "identity": Op(lambda a: a.tensor("x"), exact=True),
    "pad": Op(pad, exact=True),
    "pixel_shuffle": Op(
        lambda a: F.pixel_shuffle(a.tensor("x"), a.int("upscale_factor")), exact=True
    ),
    "pixel_unshuffle": Op(
        lambda a: F.pixel_unshuffle(a.tensor("x"), a.int("downscale_factor")), exact=True
    ),
    "range_1d": Op(range_1d),
    "reshape": Op(reshape, exact=True),
    "reverse": Op(reverse, exact=True),
    "shape": Op(shape, exact=True),
    "split": Op(split, exact=True),
    "squeeze": Op(squeeze, exact=True),
    "stack": Op(stack, exact=True),
    "tile": Op(tile, exact=True),
    "transpose": Op(transpose, exact=True),
}


def _flatten2d(x: Tensor, axis: int) -> Tensor:
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(int(torch.tensor(x.shape[:axis]).prod()), -1)
