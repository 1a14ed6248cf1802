"""Each op of the evaluator, read back from a saved package, against independent answers.

The answers are PyTorch's or NumPy's own function for the same thing, and what coremltools computes
when it folds the op over constants.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from coreml_evaluator import CoreMLProgram
from coreml_evaluator.ops import OPS
from tests.coreml_evaluator.mil_programs import fold, mb, save_program

RANDOM = np.random.default_rng(0)


def floats(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


def positive(*shape: int) -> np.ndarray:
    return RANDOM.uniform(0.1, 0.9, size=shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


X = floats(2, 3, 4)
Y = floats(3, 1)
P = positive(2, 3, 4)
IMAGE = floats(1, 4, 7, 6)
GRID = floats(1, 4, 6, 6)
A, B = ints(7, -7, 6, 0), ints(2, 2, -4, 3)


class Case(NamedTuple):
    """One program: the op it exercises, how it is built, its inputs, and an independent answer."""

    op: str
    build: Callable[..., Any]
    arrays: list[np.ndarray]
    expected: Callable[..., Any] | None = None
    ios: int = 16


def unary(op: str, x: np.ndarray, expected: Callable[..., Any], ios: int = 16) -> Case:
    return Case(op, lambda v: getattr(mb, op)(x=v), [x], expected, ios)


def binary(op: str, expected: Callable[..., Any], x: np.ndarray = X, y: np.ndarray = Y) -> Case:
    return Case(op, lambda a, b: getattr(mb, op)(x=a, y=b), [x, y], expected)


def compared(op: str, expected: Callable[..., Any]) -> Case:
    """A comparison; booleans cannot leave a program, so it is cast."""
    return Case(
        op,
        lambda a, b: mb.cast(x=getattr(mb, op)(x=a, y=b), dtype="fp32"),
        [np.float32([1, 2, 3]), np.float32([1, 3, 2])],
        expected,
    )


def logical(op: str, expected: Callable[..., Any]) -> Case:
    def build(a: Any, b: Any) -> Any:
        x, y = mb.greater(x=a, y=np.float32(0)), mb.greater(x=b, y=np.float32(0))
        return mb.cast(x=getattr(mb, op)(x=x, y=y), dtype="int32")

    signs = [np.float32([1, 1, -1, -1]), np.float32([1, -1, 1, -1])]
    return Case(op, build, signs, lambda a, b: expected(a > 0, b > 0).int())


def reduced(op: str, expected: Callable[..., Any], x: np.ndarray = X) -> list[Case]:
    reduce = getattr(mb, op)
    return [
        Case(op, lambda v: reduce(x=v, axes=[0, -1], keep_dims=True), [x],
             lambda v: expected(v, (0, -1), True)),
        Case(op, lambda v: reduce(x=v, axes=[1], keep_dims=False), [x],
             lambda v: expected(v, (1,), False)),
    ]  # fmt: skip


def conv(expected: Callable[..., Any], weight: np.ndarray, **options: Any) -> Case:
    return Case("conv", lambda v: mb.conv(x=v, weight=weight, **options), [IMAGE], expected)


W3 = floats(5, 4, 3, 3)
BIAS = floats(5)
DEPTHWISE = floats(4, 1, 3, 3)
UP = floats(4, 6, 2, 2)
GAMMA, BETA = floats(4), floats(4)
tW3, tBIAS, tDEPTHWISE, tUP, tGAMMA, tBETA = map(
    torch.from_numpy, (W3, BIAS, DEPTHWISE, UP, GAMMA, BETA)
)

ELEMENTWISE = [
    unary("abs", X, torch.abs),
    unary("acos", P, torch.acos),
    binary("add", torch.add),
    unary("asin", P, torch.asin),
    unary("atan", X, torch.atan),
    Case("cast", lambda v: mb.cast(x=v, dtype="int32"), [np.float32([1.9, -1.9, 0.2])],
         lambda v: torch.tensor([1, -1, 0])),
    Case("cast", lambda v: mb.cast(x=v, dtype="fp32"), [ints(-3, 4)], lambda v: v.float()),
    unary("ceil", X, torch.ceil),
    Case("clip", lambda v: mb.clip(x=v, alpha=-0.5, beta=0.75), [X],
         lambda v: v.clamp(-0.5, 0.75)),
    unary("cos", X, torch.cos),
    compared("equal", torch.eq),
    unary("erf", X, torch.erf),
    unary("exp", X, torch.exp),
    unary("exp2", X, torch.exp2),
    unary("floor", X, torch.floor),
    binary("floor_div", lambda a, b: torch.tensor([3, -4, -2, 0]), A, B),
    binary("floor_div", lambda a, b: torch.floor(a / b)),
    unary("gelu", X, F.gelu),
    Case("gelu", lambda v: mb.gelu(x=v, mode="TANH_APPROXIMATION"), [X],
         lambda v: F.gelu(v, approximate="tanh")),
    Case("gelu", lambda v: mb.gelu(x=v, mode="SIGMOID_APPROXIMATION"), [X],
         lambda v: v / (1 + (-1.702 * v).exp())),
    compared("greater", torch.gt),
    compared("greater_equal", torch.ge),
    Case("inverse", lambda v: mb.inverse(x=v, epsilon=0.25), [P], lambda v: 1 / (v + 0.25)),
    Case("leaky_relu", lambda v: mb.leaky_relu(x=v, alpha=0.3), [X],
         lambda v: F.leaky_relu(v, 0.3)),
    compared("less", torch.lt),
    compared("less_equal", torch.le),
    Case("log", lambda v: mb.log(x=v, epsilon=0.5), [P], lambda v: (v + 0.5).log()),
    logical("logical_and", torch.logical_and),
    logical("logical_or", torch.logical_or),
    logical("logical_xor", torch.logical_xor),
    Case("logical_not",
         lambda v: mb.cast(x=mb.logical_not(x=mb.greater(x=v, y=np.float32(0))), dtype="int32"),
         [X], lambda v: (v <= 0).int()),
    binary("maximum", torch.maximum),
    binary("minimum", torch.minimum),
    binary("mod", lambda a, b: torch.tensor([1, 1, -2, 0]), A, B),
    binary("mul", torch.mul),
    compared("not_equal", torch.ne),
    binary("pow", torch.pow, P, Y),
    binary("real_div", torch.div),
    unary("relu", X, torch.relu),
    unary("relu6", X * 6, F.relu6),
    unary("round", np.float32([0.5, 1.5, 2.4, -0.6]), torch.round),
    Case("rsqrt", lambda v: mb.rsqrt(x=v, epsilon=0.1), [P], lambda v: (v + 0.1) ** -0.5),
    Case("select", lambda v, a, b: mb.select(cond=mb.greater(x=v, y=np.float32(0)), a=a, b=b),
         [X, X, P], lambda v, a, b: torch.where(v > 0, a, b)),
    unary("sigmoid", X, torch.sigmoid),
    unary("sign", X, torch.sign),
    unary("silu", X, F.silu),
    unary("sin", X, torch.sin),
    unary("softplus", X, lambda v: (1 + v.exp()).log()),
    unary("sqrt", P, torch.sqrt),
    unary("square", X, torch.square),
    binary("sub", torch.sub),
    unary("tan", P, torch.tan),
    unary("tanh", X, torch.tanh),
]  # fmt: skip

SHAPING = [
    Case("concat", lambda a, b: mb.concat(values=[a, b], axis=-2), [X, X + 1],
         lambda a, b: torch.cat([a, b], 1)),
    Case("depth_to_space", lambda v: mb.depth_to_space(x=v, block_size=2), [floats(1, 8, 2, 3)],
         lambda v: F.pixel_shuffle(
             v.reshape(1, 4, 2, 2, 3).transpose(1, 2).reshape(1, 8, 2, 3), 2)),
    Case("expand_dims", lambda v: mb.expand_dims(x=v, axes=[0, -1]), [X],
         lambda v: v[None, ..., None]),
    Case("expand_dims", lambda v: mb.expand_dims(x=v, axes=[-2, 1]), [X],
         lambda v: v[:, None, :, None, :]),
    Case("fill", lambda v: mb.add(x=v, y=mb.fill(shape=[3, 4], value=2.5)), [X],
         lambda v: v + 2.5),
    Case("fill_like", lambda v: mb.fill_like(ref_tensor=v, value=2.5), [X],
         lambda v: torch.full_like(v, 2.5)),
    Case("flatten2d", lambda v: mb.flatten2d(x=v, axis=-1), [X], lambda v: v.reshape(6, 4)),
    Case("flatten2d", lambda v: mb.flatten2d(x=v, axis=2), [X], lambda v: v.reshape(6, 4)),
    unary("identity", X, lambda v: v),
    Case("pad", lambda v: mb.pad(x=v, pad=[1, 0, 2, 3], constant_val=0.5), [X],
         lambda v: F.pad(v, (2, 3, 1, 0), value=0.5)),
    Case("pad", lambda v: mb.pad(x=v, pad=[0, 0, 1, 2, 0, 1], mode="reflect"), [X],
         lambda v: torch.from_numpy(np.pad(v.numpy(), [(0, 0), (1, 2), (0, 1)], "reflect"))),
    Case("pad", lambda v: mb.pad(x=v, pad=[2, 1, 1, 0], mode="replicate"), [X],
         lambda v: torch.from_numpy(np.pad(v.numpy(), [(0, 0), (2, 1), (1, 0)], "edge"))),
    Case("pixel_shuffle", lambda v: mb.pixel_shuffle(x=v, upscale_factor=2), [GRID],
         lambda v: F.pixel_shuffle(v, 2)),
    Case("pixel_unshuffle", lambda v: mb.pixel_unshuffle(x=v, downscale_factor=np.uint32(2)),
         [GRID], lambda v: F.pixel_unshuffle(v, 2)),
    Case("range_1d", lambda v: mb.add(x=v, y=mb.range_1d(start=1.0, end=3.0, step=0.5)), [X],
         lambda v: v + torch.arange(1, 3, 0.5)),
    Case("reshape", lambda v: mb.reshape(x=v, shape=[3, -1]), [X], lambda v: v.reshape(3, 8)),
    Case("reshape", lambda v: mb.reshape(x=v, shape=[0, 2, -1]), [X], lambda v: v.reshape(2, 2, 6)),
    Case("reverse", lambda v: mb.reverse(x=v, axes=[0, -1]), [X], lambda v: v.flip(0, 2)),
    unary("shape", X, lambda v: torch.tensor([2, 3, 4])),
    Case("split", lambda v: mb.split(x=v, split_sizes=[1, 3], axis=-1), [X],
         lambda v: v.split([1, 3], -1)),
    Case("split", lambda v: mb.split(x=v, num_splits=3, axis=1), [X], lambda v: v.split(1, 1)),
    Case("squeeze", lambda v: mb.squeeze(x=v, axes=[-1, 0]), [floats(1, 3, 1, 2, 1)],
         lambda v: v[0, ..., 0]),
    unary("squeeze", floats(1, 3, 1, 2), torch.squeeze),
    Case("stack", lambda a, b: mb.stack(values=[a, b], axis=1), [X, X + 1],
         lambda a, b: torch.stack([a, b], 1)),
    Case("tile", lambda v: mb.tile(x=v, reps=[2, 1, 3]), [X], lambda v: v.repeat(2, 1, 3)),
    Case("transpose", lambda v: mb.transpose(x=v, perm=[-1, 0, 1]), [X],
         lambda v: v.permute(2, 0, 1)),
]  # fmt: skip

INDEXING = [
    Case("gather", lambda v, i: mb.gather(x=v, indices=i, axis=1), [X, ints(2, 0, 0)],
         lambda v, i: v[:, [2, 0, 0]]),
    Case("gather", lambda v: mb.gather(x=v, indices=np.int32([[0, -1], [1, 2]]), axis=-1), [X],
         lambda v: v[..., [[0, 3], [1, 2]]], 17),
    Case("gather_along_axis", lambda v: mb.gather_along_axis(
        x=v, indices=np.int32(np.arange(24).reshape(2, 3, 4) % 3), axis=1), [X],
         lambda v: v.gather(1, torch.arange(24).reshape(2, 3, 4) % 3)),
    Case("gather_nd", lambda v: mb.gather_nd(x=v, indices=np.int32([[0, 2], [1, 1]])), [X],
         lambda v: torch.stack([v[0, 2], v[1, 1]])),
    Case("one_hot", lambda i: mb.one_hot(indices=i, one_hot_vector_size=4, axis=0,
                                         on_value=2.0, off_value=-1.0), [ints(1, 3, 0)],
         lambda i: F.one_hot(i.long(), 4).T * 3.0 - 1),
    Case("reduce_argmax", lambda v: mb.reduce_argmax(x=v, axis=1), [X], lambda v: v.argmax(1)),
    Case("reduce_argmin", lambda v: mb.reduce_argmin(x=v, axis=-1, keep_dims=True), [X],
         lambda v: v.argmin(-1, keepdim=True)),
    Case("slice_by_index",
         lambda v: mb.slice_by_index(x=v, begin=[0, 1, -3], end=[1, 3, -1]), [X],
         lambda v: v[0:1, 1:3, -3:-1]),
    Case("slice_by_index",
         lambda v: mb.slice_by_index(x=v, begin=[1, 9, 3], end=[9, 2, 0], stride=[1, 2, -2],
                                     begin_mask=[False, True, False]), [X],
         lambda v: v[1:9, 0:2:2].flip(2)[..., [0, 2]]),
    Case("slice_by_index",
         lambda v: mb.slice_by_index(x=v, begin=[-1, 0, 2], end=[0, 0, 0],
                                     end_mask=[False, True, False],
                                     squeeze_mask=[True, False, True]), [X],
         lambda v: v[-1, :, 2]),
    Case("slice_by_size", lambda v: mb.slice_by_size(x=v, begin=[1, 0, 2], size=[1, 2, -1]), [X],
         lambda v: v[1:2, 0:2, 2:]),
]  # fmt: skip

WHOLE_AXES = [
    Case("batch_norm", lambda v: mb.batch_norm(
        x=v, mean=BETA, variance=GAMMA**2, gamma=GAMMA, beta=BETA, epsilon=1e-3), [IMAGE],
         lambda v: F.batch_norm(v, tBETA, tGAMMA**2, tGAMMA, tBETA, eps=1e-3)),
    Case("batch_norm", lambda v: mb.batch_norm(x=v, mean=BETA, variance=GAMMA**2), [IMAGE],
         lambda v: (v - tBETA[:, None, None]) / (tGAMMA[:, None, None] ** 2 + 1e-5).sqrt()),
    Case("instance_norm", lambda v: mb.instance_norm(x=v, gamma=GAMMA, beta=BETA, epsilon=1e-3),
         [IMAGE], lambda v: F.instance_norm(v, weight=tGAMMA, bias=tBETA, eps=1e-3)),
    Case("layer_norm", lambda v: mb.layer_norm(x=v, axes=[-1], gamma=GAMMA, beta=BETA), [X],
         lambda v: F.layer_norm(v, (4,), tGAMMA, tBETA)),
    Case("layer_norm", lambda v: mb.layer_norm(
        x=v, axes=[1], gamma=GAMMA, beta=BETA, epsilon=1e-2), [IMAGE],
         lambda v: F.layer_norm(v.transpose(1, -1), (4,), tGAMMA, tBETA, 1e-2).transpose(1, -1)),
    Case("layer_norm", lambda v: mb.layer_norm(x=v, axes=[1, 2]), [X],
         lambda v: F.layer_norm(v, (3, 4))),
    *reduced("reduce_l1_norm", lambda v, d, k: torch.linalg.vector_norm(v, 1, d, k)),
    *reduced("reduce_l2_norm", lambda v, d, k: torch.linalg.vector_norm(v, 2, d, k)),
    *reduced("reduce_log_sum_exp", lambda v, d, k: v.exp().sum(d, k).log()),
    *reduced("reduce_max", lambda v, d, k: v.amax(d, k)),
    *reduced("reduce_mean", lambda v, d, k: v.mean(d, k)),
    *reduced("reduce_min", lambda v, d, k: v.amin(d, k)),
    *reduced("reduce_prod", lambda v, d, k: torch.from_numpy(v.numpy().prod(d, keepdims=k))),
    *reduced("reduce_sum", lambda v, d, k: v.sum(d, k)),
    *reduced("reduce_sum_square", lambda v, d, k: v.square().sum(d, k)),
    Case("reduce_sum", lambda v: mb.reduce_sum(x=v, keep_dims=True), [X],
         lambda v: v.sum((0, 1, 2), True)),
    Case("softmax", lambda v: mb.softmax(x=v, axis=1), [X * 9], lambda v: v.softmax(1)),
    Case("softmax", lambda v: mb.softmax(x=v), [X], lambda v: v.softmax(-1)),
]  # fmt: skip

PRODUCTS = [
    conv(lambda v: F.conv2d(v, tW3, tBIAS), W3, bias=BIAS),
    conv(lambda v: F.conv2d(v, tW3, stride=2, padding=1), W3,
         pad_type="custom", pad=[1, 1, 1, 1], strides=[2, 2]),
    conv(lambda v: F.conv2d(F.pad(v, (2, 0, 0, 1)), tW3, dilation=2), W3,
         pad_type="custom", pad=[0, 1, 2, 0], dilations=[2, 2]),
    conv(lambda v: F.conv2d(v, tDEPTHWISE, groups=4, padding=1), DEPTHWISE,
         pad_type="same", groups=4),
    # Height 7 takes one row each side, width 6 a single column, at the right or at the left.
    conv(lambda v: F.conv2d(F.pad(v, (0, 1, 1, 1)), tW3, stride=2), W3,
         pad_type="same", strides=[2, 2]),
    conv(lambda v: F.conv2d(F.pad(v, (1, 0, 1, 1)), tW3, stride=2), W3,
         pad_type="same_lower", strides=[2, 2]),
    Case("conv", lambda v: mb.conv(x=v, weight=W3[..., 0], pad_type="valid"), [floats(1, 4, 9)],
         lambda v: F.conv1d(v, tW3[..., 0])),
    Case("conv_transpose", lambda v: mb.conv_transpose(
        x=v, weight=UP, bias=floats(6) * 0 + 2, strides=[2, 2], output_shape=[1, 6, 14, 12]),
         [IMAGE], lambda v: F.conv_transpose2d(v, tUP, torch.full((6,), 2.0), stride=2)),
    Case("conv_transpose", lambda v: mb.conv_transpose(
        x=v, weight=W3[:4].copy(), pad_type="custom", pad=[1, 0, 0, 2], strides=[3, 2]),
         [IMAGE], lambda v: F.conv_transpose2d(v, tW3[:4], stride=(3, 2))[:, :, 1:, :-2]),
    Case("conv_transpose", lambda v: mb.conv_transpose(x=v, weight=DEPTHWISE, groups=4),
         [IMAGE], lambda v: F.conv_transpose2d(v, tDEPTHWISE, groups=4)),
    Case("einsum", lambda a, b: mb.einsum(values=[a, b], equation="nchw,nwhu->nchu"),
         [floats(1, 2, 3, 4), floats(1, 4, 3, 5)],
         lambda a, b: torch.einsum("nchw,nwhu->nchu", a, b)),
    Case("linear", lambda v: mb.linear(x=v, weight=W3[:, :, 0, 0].copy(), bias=BIAS), [X],
         lambda v: F.linear(v, tW3[:, :, 0, 0], tBIAS)),
    Case("linear", lambda v: mb.linear(x=v, weight=W3[:, :, 0, 0].copy()), [X],
         lambda v: F.linear(v, tW3[:, :, 0, 0])),
    Case("matmul", lambda a, b: mb.matmul(x=a, y=b), [X, floats(5, 1, 4, 2)], torch.matmul),
    Case("matmul", lambda a, b: mb.matmul(x=a, y=b, transpose_x=True, transpose_y=True),
         [X, floats(2, 5, 3)], lambda a, b: a.mT @ b.mT),
    Case("scaled_dot_product_attention",
         lambda q, k, v: mb.scaled_dot_product_attention(query=q, key=k, value=v),
         [floats(2, 3, 4), floats(2, 5, 4), floats(2, 5, 6)],
         lambda q, k, v: (q @ k.mT / 2).softmax(-1) @ v, 18),
    Case("scaled_dot_product_attention",
         lambda q, k, m: mb.scaled_dot_product_attention(query=q, key=k, value=k, attn_mask=m),
         [floats(2, 3, 4), floats(2, 5, 4), floats(3, 5)],
         lambda q, k, m: (q @ k.mT / 2 + m).softmax(-1) @ k, 18),
]  # fmt: skip

RESIZING = [
    Case("avg_pool", lambda v: mb.avg_pool(
        x=v, kernel_sizes=[3, 2], strides=[2, 2], pad_type="custom", pad=[1, 1, 0, 0]), [IMAGE],
         lambda v: F.avg_pool2d(F.pad(v, (0, 0, 1, 1)), (3, 2), 2)),
    Case("max_pool", lambda v: mb.max_pool(
        x=v, kernel_sizes=[3, 3], strides=[2, 2], pad_type="custom", pad=[1, 1, 1, 1]),
         [IMAGE - 9], lambda v: F.max_pool2d(v, 3, 2, padding=1)),
    Case("upsample_bilinear", lambda v: mb.upsample_bilinear(
        x=v, scale_factor_height=2, scale_factor_width=3, align_corners=False), [IMAGE],
         lambda v: F.interpolate(v, scale_factor=(2, 3), mode="bilinear")),
    Case("upsample_bilinear", lambda v: mb.upsample_bilinear(
        x=v, scale_factor_height=2, scale_factor_width=2), [IMAGE],
         lambda v: F.interpolate(v, scale_factor=2, mode="bilinear", align_corners=True)),
    Case("upsample_nearest_neighbor", lambda v: mb.upsample_nearest_neighbor(
        x=v, scale_factor_height=2, scale_factor_width=3), [IMAGE],
         lambda v: F.interpolate(v, scale_factor=(2, 3), mode="nearest")),
]  # fmt: skip

CASES = [*ELEMENTWISE, *SHAPING, *INDEXING, *WHOLE_AXES, *PRODUCTS, *RESIZING]


def test_every_known_op_has_a_case() -> None:
    assert {case.op for case in CASES} == set(OPS)


@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{case.op}" for i, case in enumerate(CASES)])
def test_op_agrees_with_independent_answers(case: Case, tmp_path: Path) -> None:
    program = CoreMLProgram(save_program(tmp_path, case.build, case.arrays, case.ios))
    assert case.op in program.op_types  # it was not folded away before it was saved
    inputs = {t.name: a for t, a in zip(program.inputs, case.arrays, strict=True)}
    found = [value.numpy() for value in program.run(inputs).values()]

    expected = case.expected(*map(torch.from_numpy, case.arrays)) if case.expected else None
    answers = [] if expected is None else [_arrays(expected)]
    folded = fold(case.build, case.arrays, case.ios)
    if folded is not None:
        answers.append(folded)
    assert answers
    for answer in answers:
        assert len(answer) == len(found)
        for one, other in zip(found, answer, strict=True):
            assert one.shape == other.shape
            np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)


def _arrays(expected: Any) -> list[np.ndarray]:
    parts = expected if isinstance(expected, list | tuple) else [expected]
    return [part.numpy() for part in parts]
