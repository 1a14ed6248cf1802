"""Ops on one value at a time: arithmetic, comparison, activation, selection, cast."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from coreml_evaluator.arguments import Arguments, Op

GELU_SIGMOID_SCALE = 1.702
"""Core ML's SIGMOID_APPROXIMATION of GELU: x * sigmoid(1.702 x)."""

STORED_AS = {
    "bool": torch.bool,
    "fp16": torch.float32,
    "fp32": torch.float32,
    "int16": torch.int32,
    "int32": torch.int32,
    "int4": torch.int32,
    "int8": torch.int32,
    "uint1": torch.int32,
    "uint16": torch.int32,
    "uint2": torch.int32,
    "uint3": torch.int32,
    "uint32": torch.int64,
    "uint4": torch.int32,
    "uint6": torch.int32,
    "uint8": torch.int32,
}
"""Torch type in which values of a Core ML type are kept."""


def unary(
    function: Callable[[Tensor], Tensor],
    overwriting: Callable[[Tensor], Tensor] | None = None,
    *,
    exact: bool = False,
) -> Op:
    """An op of the one parameter ``x``."""
    over = None if overwriting is None else lambda a: overwriting(a.tensor("x"))
    return Op(lambda a: function(a.tensor("x")), exact, over)


def binary(
    function: Callable[[Tensor, Tensor], Tensor],
    overwriting: Callable[[Tensor, Tensor], Tensor] | None = None,
    *,
    exact: bool = False,
) -> Op:
    """An op of ``x`` and ``y``, with NumPy's broadcasting."""
    over = None if overwriting is None else lambda a: overwriting(a.tensor("x"), a.tensor("y"))
    return Op(lambda a: function(a.tensor("x"), a.tensor("y")), exact, over)


def gelu(a: Arguments) -> Tensor:
    x, mode = a.tensor("x"), a.text("mode", "EXACT")
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(GELU_SIGMOID_SCALE * x)
    return F.gelu(x, approximate=_approximation(a, mode))


def gelu_overwriting(a: Arguments) -> Tensor:
    x, mode = a.tensor("x"), a.text("mode", "EXACT")
    if mode == "SIGMOID_APPROXIMATION":
        return x.mul_(torch.sigmoid(GELU_SIGMOID_SCALE * x))
    result: Tensor = torch.ops.aten.gelu_(x, approximate=_approximation(a, mode))
    return result


def _approximation(a: Arguments, mode: str) -> str:
    """PyTorch's name of a mode."""
    names = {"EXACT": "none", "TANH_APPROXIMATION": "tanh"}
    if mode not in names:
        a.refuse(f"has mode '{mode}'")
    return names[mode]


def divided(divide: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Arguments], Tensor]:
    """Division of floats, new or overwriting."""

    def evaluate(a: Arguments) -> Tensor:
        x, y = a.tensor("x"), a.tensor("y")
        if not (x.is_floating_point() and y.is_floating_point()):
            a.refuse("divides integers")
        return divide(x, y)

    return evaluate


def clip(a: Arguments) -> Tensor:
    return a.tensor("x").clamp(a.number("alpha"), a.number("beta"))


def inverse(a: Arguments) -> Tensor:
    return (a.tensor("x") + a.number("epsilon", 1e-4)).reciprocal()


def rsqrt(a: Arguments) -> Tensor:
    return (a.tensor("x") + a.number("epsilon", 1e-12)).rsqrt()


def log(a: Arguments) -> Tensor:
    return (a.tensor("x") + a.number("epsilon", 1e-45)).log()


def leaky_relu(a: Arguments) -> Tensor:
    return F.leaky_relu(a.tensor("x"), a.number("alpha", 0.01))


def select(a: Arguments) -> Tensor:
    return torch.where(a.tensor("cond"), a.tensor("a"), a.tensor("b"))


def cast(a: Arguments) -> Tensor:
    x, dtype = a.tensor("x"), a.text("dtype")
    if dtype not in STORED_AS:
        a.refuse(f"casts to '{dtype}'")
    if dtype in ("int8", "uint8", "int16", "uint16"):
        bounds = torch.iinfo(getattr(torch, dtype))
        if x.numel() and not bounds.min <= x.min() <= x.max() <= bounds.max:
            a.refuse(f"casts values to '{dtype}' that it cannot hold")
    return x.to(STORED_AS[dtype])


OPS = {
    "abs": unary(torch.abs, exact=True),
    "acos": unary(torch.acos),
    "add": binary(torch.add, Tensor.add_),
    "asin": unary(torch.asin),
    "atan": unary(torch.atan),
    "cast": Op(cast),
    "ceil": unary(torch.ceil),
    "clip": Op(clip),
    "cos": unary(torch.cos),
    "equal": binary(torch.eq),
    "erf": unary(torch.erf),
    "exp": unary(torch.exp),
    "exp2": unary(torch.exp2),
    "floor": unary(torch.floor),
    "floor_div": binary(torch.floor_divide),
    "gelu": Op(gelu, overwriting=gelu_overwriting),
    "greater": binary(torch.gt),
    "greater_equal": binary(torch.ge),
    "inverse": Op(inverse),
    "leaky_relu": Op(leaky_relu),
    "less": binary(torch.lt),
    "less_equal": binary(torch.le),
    "log": Op(log),
    "logical_and": binary(torch.logical_and),
    "logical_not": unary(torch.logical_not),
    "logical_or": binary(torch.logical_or),
    "logical_xor": binary(torch.logical_xor),
    "maximum": binary(torch.maximum, exact=True),
    "minimum": binary(torch.minimum, exact=True),
    "mod": binary(torch.remainder),
    "mul": binary(torch.mul, Tensor.mul_),
    "not_equal": binary(torch.ne),
    "pow": binary(torch.pow),
    "real_div": Op(divided(torch.div), overwriting=divided(Tensor.div_)),
    "relu": unary(torch.relu, torch.relu_, exact=True),
    "relu6": unary(F.relu6, exact=True),
    "round": unary(torch.round),
    "rsqrt": Op(rsqrt),
    "select": Op(select, exact=True),
    "sigmoid": unary(torch.sigmoid),
    "sign": unary(torch.sign),
    "silu": unary(F.silu),
    "sin": unary(torch.sin),
    "softplus": unary(F.softplus),
    "sqrt": unary(torch.sqrt),
    "square": unary(torch.square),
    "sub": binary(torch.sub, Tensor.sub_),
    "tan": unary(torch.tan),
    "tanh": unary(torch.tanh),
}
