"""Main families of ops over random shapes, axes, paddings and strides.

The same arguments go to the evaluator's function, to PyTorch or NumPy, and to coremltools, which
folds the op over constants where it can.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from coreml_evaluator.arguments import Argument, Arguments
from coreml_evaluator.ops import OPS
from coreml_evaluator.ops.compressed import unpacked
from tests.coreml_evaluator.mil_programs import fold, mb
from tests.coreml_evaluator.op_cases.compressed import few_bits

IOS18 = 9
# The same examples on every run and machine, and no clock: others may be using the machine.
checked = settings(max_examples=25, deadline=None, derandomize=True, database=None)
sides = st.integers(1, 5)
shapes = st.lists(sides, min_size=1, max_size=4).map(tuple)


def arrays(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def argument(value: Any) -> Argument:
    """A value as the evaluator keeps it: every integer has 32 bits."""
    if isinstance(value, str):
        return value
    array = np.asarray(value)
    return torch.from_numpy(array.astype(np.int32) if array.dtype.kind in "iu" else array)


def check(op: str, expected: Tensor | list[Tensor], **given: Any) -> None:
    """Compare an op with an answer, and with what coremltools folds."""
    values = {name: argument(value) for name, value in given.items()}
    result = OPS[op].function(Arguments(op, "tested", values, IOS18))
    found = list(result) if isinstance(result, tuple) else [result]
    answers = [
        [part.numpy() for part in ([expected] if isinstance(expected, Tensor) else expected)]
    ]
    folded = fold(lambda: getattr(mb, op)(**given), [], 18)
    answers += [folded] if folded is not None else []
    for answer in answers:
        assert len(found) == len(answer)
        for one, other in zip(found, answer, strict=True):
            assert tuple(one.shape) == np.shape(other)
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@st.composite
def broadcastable(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two shapes, either of which may lack leading sides or have a 1 where the other has more."""
    full = draw(shapes)
    x, y = ([side if draw(st.booleans()) else 1 for side in full] for _ in range(2))
    cut = draw(st.integers(0, len(full) - 1))
    return (tuple(x), tuple(y[cut:])) if draw(st.booleans()) else (tuple(x[cut:]), tuple(y))


@checked
@given(broadcastable(), st.integers(0, 99))
def test_broadcasting(pair: tuple[tuple[int, ...], tuple[int, ...]], seed: int) -> None:
    x, y = arrays(pair[0], seed), arrays(pair[1], seed + 1)
    for op in ("add", "sub", "mul", "maximum", "greater"):
        check(op, getattr(torch, op)(torch.from_numpy(x), torch.from_numpy(y)), x=x, y=y)


@st.composite
def axes_of(draw: st.DrawFn, rank: int) -> list[int]:
    """Distinct axes in any order, some of them negative."""
    chosen = draw(st.lists(st.integers(0, rank - 1), min_size=1, unique=True))
    return [axis - rank if draw(st.booleans()) else axis for axis in chosen]


def int32(values: Iterable[Any]) -> np.ndarray:
    """An array of indices, as programs take them."""
    return np.array(list(values), np.int32)


REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "reduce_l2_norm": lambda v, d, k: torch.linalg.vector_norm(v, 2, d, k),
    "reduce_log_sum_exp": torch.logsumexp,
    "reduce_max": torch.amax,
    "reduce_mean": torch.mean,
    "reduce_sum": torch.sum,
}


@checked
@given(st.data(), shapes, st.booleans())
def test_reductions(data: st.DataObject, shape: tuple[int, ...], keep: bool) -> None:
    x, axes = arrays(shape, len(shape)), data.draw(axes_of(len(shape)))
    for op, reduce in REDUCTIONS.items():
        expected = reduce(torch.from_numpy(x), axes, keep)
        check(op, expected, x=x, axes=int32(axes), keep_dims=keep)


@st.composite
def slices(draw: st.DrawFn, side: int) -> tuple[int, int, int, bool, bool]:
    """Begin, end, stride and both masks of one axis, never of nothing."""
    stride = draw(st.sampled_from([1, 2, 3, -1, -2]))
    first, last = sorted((draw(st.integers(0, side - 1)), draw(st.integers(0, side - 1))))
    begin, end = (first, last + 1) if stride > 0 else (last, first - 1)
    no_end = draw(st.booleans()) or end < 0
    begin, end = (value - side if draw(st.booleans()) else value for value in (begin, max(end, 0)))
    if end == 0 and stride > 0:
        no_end = True  # the axis's own length cannot be counted from its end
    return begin, end, stride, draw(st.booleans()), no_end


@checked
@given(st.data(), shapes)
def test_slicing(data: st.DataObject, shape: tuple[int, ...]) -> None:
    x = arrays(shape, len(shape))
    parts = [data.draw(slices(side)) for side in shape]
    expected = x[
        tuple(
            slice(None if no_begin else begin, None if no_end else end, stride)
            for begin, end, stride, no_begin, no_end in parts
        )
    ]
    begin, end, stride, no_begin, no_end = (list(column) for column in zip(*parts, strict=True))
    check("slice_by_index", torch.from_numpy(expected.copy()), x=x, begin=int32(begin),
          end=int32(end), stride=int32(stride), begin_mask=np.array(no_begin),
          end_mask=np.array(no_end))  # fmt: skip


@checked
@given(st.data(), shapes)
def test_reshape_and_transpose(data: st.DataObject, shape: tuple[int, ...]) -> None:
    x = arrays(shape, len(shape))
    order = data.draw(st.permutations(range(len(shape))))
    perm = [axis - len(shape) if data.draw(st.booleans()) else axis for axis in order]
    moved = torch.from_numpy(x).permute(order)
    check("transpose", moved, x=x, perm=int32(perm))
    flat = [math.prod(shape[:1]), -1]
    check("reshape", moved.reshape(flat), x=moved.contiguous().numpy(), shape=int32(flat))


@checked
@given(st.data(), st.lists(st.integers(3, 5), min_size=2, max_size=4).map(tuple),
       st.sampled_from(["constant", "reflect", "replicate"]))  # fmt: skip
def test_pad(data: st.DataObject, shape: tuple[int, ...], mode: str) -> None:
    x, few = arrays(shape, 0), st.integers(0, 2)
    axes = len(shape) if mode == "constant" else 2
    pairs = [(0, 0)] * (len(shape) - axes) + [(data.draw(few), data.draw(few)) for _ in range(axes)]
    options = {"constant_values": -1.5} if mode == "constant" else {}
    numpy_mode = {"replicate": "edge"}.get(mode, mode)
    expected = np.pad(x, pairs, numpy_mode, **options)  # type: ignore[call-overload]
    check("pad", torch.from_numpy(expected), x=x, pad=int32(pairs).reshape(-1), mode=mode,
          constant_val=np.float32(-1.5))  # fmt: skip


@checked
@given(broadcastable(), sides, sides, sides, st.booleans(), st.booleans())
def test_products(
    batch: tuple[tuple[int, ...], tuple[int, ...]], n: int, k: int, m: int, tx: bool, ty: bool
) -> None:
    x = arrays((*batch[0], *((k, n) if tx else (n, k))), 0)
    y = arrays((*batch[1], *((m, k) if ty else (k, m))), 1)
    left, right = torch.from_numpy(x), torch.from_numpy(y)
    expected = torch.matmul(left.mT if tx else left, right.mT if ty else right)
    check("matmul", expected, x=x, y=y, transpose_x=tx, transpose_y=ty)
    weight, bias = arrays((m, k), 2), arrays((m,), 3)
    rows = arrays((*batch[0], k)[-3:], 4)
    expected = F.linear(*map(torch.from_numpy, (rows, weight, bias)))
    check("linear", expected, x=rows, weight=weight, bias=bias)


@checked
@given(st.data(), st.integers(1, 2), st.booleans())
def test_convolutions(data: st.DataObject, rank: int, transposed: bool) -> None:
    def each(low: int, high: int) -> list[int]:
        return [data.draw(st.integers(low, high)) for _ in range(rank)]

    groups, size, kernel = data.draw(st.sampled_from([1, 2])), each(5, 8), each(1, 3)
    strides, pads = each(1, 3), each(0, 1)
    dilations = each(1, 2)
    x = arrays((2, 4, *size), 0)
    weight = arrays((4, 6 // groups, *kernel) if transposed else (6, 4 // groups, *kernel), 1)
    bias = arrays((6,), 2)
    tensors = list(map(torch.from_numpy, (x, weight, bias)))
    if transposed:
        transpose: Any = F.conv_transpose2d if rank == 2 else F.conv_transpose1d
        expected = transpose(*tensors, strides, pads, 0, groups, dilations)
    else:
        convolve: Any = F.conv2d if rank == 2 else F.conv1d
        expected = convolve(*tensors, strides, pads, dilations, groups)
    check("conv_transpose" if transposed else "conv", expected, x=x, weight=weight, bias=bias,
          strides=int32(strides), pad=np.repeat(int32(pads), 2),
          dilations=int32(dilations), groups=np.int32(groups), pad_type="custom")  # fmt: skip


@checked
@given(st.data(), shapes)
def test_softmax_and_layer_norm(data: st.DataObject, shape: tuple[int, ...]) -> None:
    x = arrays(shape, len(shape)) * 5
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    check("softmax", torch.from_numpy(x).softmax(axis), x=x, axis=np.int32(axis))
    normalized = shape[data.draw(st.integers(0, len(shape) - 1)) :]
    gamma, beta = arrays(normalized, 1), arrays(normalized, 2)
    expected = F.layer_norm(
        *(torch.from_numpy(x), normalized, torch.from_numpy(gamma), torch.from_numpy(beta)), 1e-2
    )
    check("layer_norm", expected, x=x, gamma=gamma, beta=beta, epsilon=np.float32(1e-2),
          axes=int32(range(-len(normalized), 0)))  # fmt: skip


@st.composite
def divided(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """How many blocks, how large, and so the shape of a weight, each of two sides."""
    blocks, sizes = (tuple(draw(st.integers(1, 4)) for _ in range(2)) for _ in range(2))
    return blocks, sizes, tuple(np.multiply(blocks, sizes).tolist())


@checked
@given(st.data(), st.sampled_from(["int4", "uint4", "int8", "uint8"]))
def test_blocks_of_weights(data: st.DataObject, dtype: str) -> None:
    blocks, sizes, shape = data.draw(divided())
    bits = int(dtype.lstrip("uint"))
    low = -(2 ** (bits - 1)) if dtype.startswith("int") else 0
    stored = np.random.default_rng(0).integers(low, low + 2**bits, shape)
    scale = np.abs(arrays(blocks, 1))
    expected = torch.from_numpy(stored * np.kron(scale, np.ones(sizes)))
    data_given = few_bits(stored, dtype)
    check("constexpr_blockwise_shift_scale", expected, data=data_given, scale=scale)


@checked
@given(divided(), st.sampled_from([1, 2, 3, 4, 6, 8]))
def test_tables_of_weights(
    division: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]], bits: int
) -> None:
    blocks, sizes, shape = division
    table = arrays((*blocks, 2**bits, 1), 1)
    indices = np.random.default_rng(2).integers(0, 2**bits, shape)
    block_of = np.indices(shape) // np.reshape(sizes, (-1, 1, 1))
    expected = torch.from_numpy(table[block_of[0], block_of[1], indices, 0])
    given_indices = few_bits(indices, f"uint{bits}")
    check("constexpr_lut_to_dense", expected, indices=given_indices, lut=table)


@checked
@given(st.sampled_from([1, 2, 3, 4, 6, 8]), st.lists(st.integers(0, 255), min_size=1, max_size=40))
def test_packed_integers(bits: int, values: list[int]) -> None:
    numbers = [value % 2**bits for value in values]
    stream = sum(number << (bits * place) for place, number in enumerate(numbers))
    count = math.ceil(bits * len(numbers) / 8)
    packed = torch.tensor(list(stream.to_bytes(count, "little")))
    assert unpacked(packed, bits, len(numbers)).tolist() == numbers
