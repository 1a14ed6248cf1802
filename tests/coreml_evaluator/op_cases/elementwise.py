"""Arithmetic, comparison, activation, selection, cast."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from tests.coreml_evaluator.mil_programs import mb
from tests.coreml_evaluator.op_cases.case import Case, P, X, Y, floats, halves, ints, unary

A, B = ints(7, -7, 6, 0), ints(2, 2, -4, 3)
HALF = halves(2, 3, 4)


def binary(
    op: str,
    expected: Callable[..., Any],
    x: np.ndarray = X,
    y: np.ndarray = Y,
    ios: int = 16,
    ours: bool = False,
) -> Case:
    return Case(op, lambda a, b: getattr(mb, op)(x=a, y=b), [x, y], expected, ios, ours)


def cast(dtype: str, x: np.ndarray, expected: Callable[..., Any], ios: int = 16) -> Case:
    """To a dtype, and from it to one that may leave a program."""
    return Case(
        "cast",
        lambda v: mb.cast(x=mb.cast(x=v, dtype=dtype), dtype="int32"),
        [x],
        expected,
        ios,
    )


def compared(op: str, expected: Callable[..., Any]) -> list[Case]:
    """A comparison of floats and of integers; booleans cannot leave a program, so it is cast."""

    def build(a: Any, b: Any) -> Any:
        return mb.cast(x=getattr(mb, op)(x=a, y=b), dtype="int32")

    def answer(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return expected(a, b).int()

    return [
        Case(
            op,
            build,
            [np.array([[1, 2, 3], [-1, 0, 3]], np.float32), np.array([1, 3, 2], np.float32)],
            answer,
        ),
        Case(op, build, [ints(1, 2, 3, -4), ints(1, 3, 2, -5)], answer, 17),
    ]


def logical(op: str, expected: Callable[..., Any]) -> Case:
    def build(a: Any, b: Any) -> Any:
        x, y = mb.greater(x=a, y=np.float32(0)), mb.greater(x=b, y=np.float32(0))
        return mb.cast(x=getattr(mb, op)(x=x, y=y), dtype="int32")

    signs = [np.array([1, 1, -1, -1], np.float32), np.array([1, -1, 1, -1], np.float32)]
    return Case(op, build, signs, lambda a, b: expected(a > 0, b > 0).int())


CASES = [
    unary("abs", X, torch.abs),
    unary("abs", ints(-3, 0, 4), torch.abs),
    unary("acos", P, torch.acos),
    binary("add", torch.add),
    binary("add", torch.add, A, B),
    binary("add", torch.add, HALF, HALF[0]),
    binary("add", torch.add, floats(2, 1, 4, 1), floats(3, 1, 5), ios=17),
    unary("asin", P, torch.asin),
    unary("atan", X, torch.atan),
    cast("fp32", ints(-3, 4), lambda v: v.clone()),
    cast("int32", np.array([1.9, -1.9, 0.2], np.float32), torch.Tensor.int),
    cast("bool", np.array([0, -0.5, 2], np.float32), lambda v: v.bool().int()),
    cast("bool", ints(0, -1, 2), lambda v: v.bool().int()),
    cast("fp16", np.array([2049.0, -0.7, 65504], np.float32), lambda v: v.half().int()),
    *(cast(dtype, np.array([1.9, 0.2, 127], np.float32), lambda v: v.to(torch.int8).int(), 17)
      for dtype in ("int8", "uint8", "int16", "uint16")),
    unary("ceil", X, torch.ceil),
    Case("clip", lambda v: mb.clip(x=v, alpha=-0.5, beta=0.75), [X],
         lambda v: v.clamp(-0.5, 0.75)),
    Case("clip", lambda v: mb.clip(x=v, alpha=np.float16(-0.25), beta=np.float16(2)), [HALF],
         lambda v: v.clamp(-0.25, 2), 17),
    unary("cos", X, torch.cos),
    *compared("equal", torch.eq),
    unary("erf", X, torch.erf),
    unary("exp", X, torch.exp),
    unary("exp2", X, torch.exp2),
    unary("floor", X, torch.floor),
    binary("floor_div", torch.floor_divide, A, B),
    binary("floor_div", torch.floor_divide),
    unary("gelu", X, F.gelu),
    unary("gelu", HALF, F.gelu, 17),
    Case("gelu", lambda v: mb.gelu(x=v, mode="TANH_APPROXIMATION"), [X],
         lambda v: F.gelu(v, approximate="tanh")),
    Case("gelu", lambda v: mb.gelu(x=v, mode="SIGMOID_APPROXIMATION"), [X],
         lambda v: v / (1 + (-1.702 * v).exp()), ours=True),
    *compared("greater", torch.gt),
    *compared("greater_equal", torch.ge),
    Case("inverse", lambda v: mb.inverse(x=v, epsilon=0.25), [P], lambda v: 1 / (v + 0.25),
         ours=True),
    Case("leaky_relu", lambda v: mb.leaky_relu(x=v, alpha=0.3), [X],
         lambda v: F.leaky_relu(v, 0.3)),
    *compared("less", torch.lt),
    *compared("less_equal", torch.le),
    Case("log", lambda v: mb.log(x=v, epsilon=0.5), [P], lambda v: (v + 0.5).log(), ours=True),
    Case("log", lambda v: mb.log(x=v), [P], torch.log, 17),
    logical("logical_and", torch.logical_and),
    logical("logical_or", torch.logical_or),
    logical("logical_xor", torch.logical_xor),
    Case("logical_not",
         lambda v: mb.cast(x=mb.logical_not(x=mb.greater(x=v, y=np.float32(0))), dtype="int32"),
         [X], lambda v: torch.logical_not(v > 0).int()),
    binary("maximum", torch.maximum),
    binary("maximum", torch.maximum, A, B),
    binary("minimum", torch.minimum),
    binary("minimum", torch.minimum, HALF, HALF[:, :1]),
    binary("mod", torch.remainder, A, B),
    binary("mod", torch.remainder, X, P[0]),
    binary("mul", torch.mul),
    binary("mul", torch.mul, HALF, HALF[..., :1], 18),
    binary("mul", torch.mul, A, B),
    *compared("not_equal", torch.ne),
    binary("pow", torch.pow, P, Y),
    Case("pow", lambda v: mb.pow(x=v, y=2.0), [X], lambda v: torch.pow(v, 2)),
    binary("real_div", torch.div),
    binary("real_div", torch.div, HALF, HALF[0]),
    unary("relu", X, torch.relu),
    unary("relu", HALF, torch.relu),
    unary("relu6", X * 6, F.relu6),
    unary("round", np.array([0.5, 1.5, 2.4, -0.6], np.float32), torch.round),
    Case("rsqrt", lambda v: mb.rsqrt(x=v, epsilon=0.1), [P], lambda v: (v + 0.1) ** -0.5,
         ours=True),
    Case("rsqrt", lambda v: mb.rsqrt(x=v), [P], torch.rsqrt, 17),
    Case("select", lambda v, a, b: mb.select(cond=mb.greater(x=v, y=np.float32(0)), a=a, b=b),
         [X, X, P], lambda v, a, b: torch.where(v > 0, a, b)),
    Case("select", lambda v: mb.select(cond=mb.greater(x=v, y=np.float32(0)), a=v,
                                       b=np.float32(-2)),
         [X], lambda v: torch.where(v > 0, v, -2.0)),
    unary("sigmoid", X, torch.sigmoid),
    unary("sign", X, torch.sign),
    unary("silu", X, F.silu),
    unary("sin", X, torch.sin),
    unary("softplus", X, F.softplus),
    unary("sqrt", P, torch.sqrt),
    unary("square", X, torch.square),
    binary("sub", torch.sub),
    binary("sub", torch.sub, HALF, HALF[:, 1:2]),
    binary("sub", torch.sub, A, B),
    unary("tan", P, torch.tan),
    unary("tanh", X, torch.tanh),
]  # fmt: skip
