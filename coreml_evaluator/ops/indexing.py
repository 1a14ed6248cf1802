"""Ops that pick values out of a tensor by position."""

from collections.abc import Sequence

import torch
from torch import Tensor

from coreml_evaluator.arguments import IOS17, Arguments, Op


def slice_by_index(a: Arguments) -> Tensor:
    x = a.tensor("x")
    begin, end, stride = a.ints("begin"), a.ints("end"), a.ints("stride", [1] * x.ndim)
    no_begin, no_end, single = (
        a.bools(name, x.ndim) for name in ("begin_mask", "end_mask", "squeeze_mask")
    )
    for axis in reversed(range(x.ndim)):  # from the last, as a squeezed axis renumbers later ones
        side = x.shape[axis]
        first = begin[axis] + side if begin[axis] < 0 else begin[axis]
        if single[axis]:
            first = 0 if no_begin[axis] else first
            if not 0 <= first < side:
                a.refuse(f"picks index {begin[axis]} of {side}")
            x = x.select(axis, first)
            continue
        part = range(side)[
            slice(
                None if no_begin[axis] else begin[axis],
                None if no_end[axis] else end[axis],
                stride[axis],
            )
        ]
        if part.step > 0:
            x = x[(slice(None),) * axis + (slice(part.start, part.stop, part.step),)]
        else:
            x = x.index_select(axis, torch.tensor(list(part), dtype=torch.int64))
    return x


def slice_by_size(a: Arguments) -> Tensor:
    x = a.tensor("x")
    for axis, (begin, size) in enumerate(zip(a.ints("begin"), a.ints("size"), strict=True)):
        first = begin + x.shape[axis] if begin < 0 else begin
        x = x.narrow(axis, first, x.shape[axis] - first if size == -1 else size)
    return x


def _indices(a: Arguments, sides: int | Sequence[int]) -> Tensor:
    """The indices as int64, negative ones counted from the end, up to iOS 16.

    From iOS 17 on a negative one is out of bounds, and what a device picks then is undefined.

    Args:
        sides: one for all indices, or one for each along the indices' last dimension.
    """
    found, limits = a.tensor("indices").long(), torch.tensor(sides)
    wrong = found.numel() and bool(((found >= limits) | (found < -limits)).any())
    if wrong or (a.opset >= IOS17 and bool((found < 0).any())):
        a.refuse(f"picks an index outside 0 to {(limits - 1).tolist()}")
    return torch.where(found < 0, found + limits, found)


def gather(a: Arguments) -> Tensor:
    x, axis = a.tensor("x"), a.int("axis", 0)
    if a.int("batch_dims", 0) != 0:
        a.refuse("has batch_dims")
    axis = axis + x.ndim if axis < 0 else axis
    indices = _indices(a, x.shape[axis])
    picked = x.index_select(axis, indices.reshape(-1))
    return picked.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


def gather_along_axis(a: Arguments) -> Tensor:
    x, axis = a.tensor("x"), a.int("axis", 0)
    return x.gather(axis, _indices(a, x.shape[axis]))


def gather_nd(a: Arguments) -> Tensor:
    x = a.tensor("x")
    if a.int("batch_dims", 0) != 0:
        a.refuse("has batch_dims")
    indices = _indices(a, x.shape[: a.tensor("indices").shape[-1]])
    return x[indices.unbind(-1)]


def one_hot(a: Arguments) -> Tensor:
    indices, size = a.tensor("indices"), a.int("one_hot_vector_size")
    on, off = a.number("on_value", 1), a.number("off_value", 0)
    dtype = a.tensor("on_value").dtype if a.given("on_value") else torch.int32
    hot = indices.unsqueeze(-1) == torch.arange(size, dtype=indices.dtype)
    last = torch.where(hot, torch.tensor(on, dtype=dtype), torch.tensor(off, dtype=dtype))
    return last.movedim(-1, a.int("axis", -1))


def argument(function: str) -> Op:
    """``reduce_argmax`` and ``reduce_argmin``."""

    def evaluate(a: Arguments) -> Tensor:
        found: Tensor = getattr(torch, function)(
            a.tensor("x"), dim=a.int("axis", -1), keepdim=a.bool("keep_dims", False)
        )
        return found.int()

    return Op(evaluate)


OPS = {
    "gather": Op(gather, exact=True),
    "gather_along_axis": Op(gather_along_axis, exact=True),
    "gather_nd": Op(gather_nd, exact=True),
    "one_hot": Op(one_hot, exact=True),
    "reduce_argmax": argument("argmax"),
    "reduce_argmin": argument("argmin"),
    "slice_by_index": Op(slice_by_index, exact=True),
    "slice_by_size": Op(slice_by_size, exact=True),
}
