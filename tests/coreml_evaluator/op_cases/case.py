"""One program that exercises one op, and who else says what it must give."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tests.coreml_evaluator.mil_programs import Build, mb

RANDOM = np.random.default_rng(0)


class Case(NamedTuple):
    """A program, its inputs, and where independent answers come from.

    Attributes:
        op: the op type it exercises.
        build: the program, of one variable for each array.
        expected: the answer, of the arrays as tensors; None where only coremltools has one.
        ios: the system whose form of the op it is.
        ours: ``expected`` is a formula or figures of our own, and not PyTorch's operator.
        alone: builds the op on constants, for coremltools to fold where it cannot fold ``build``.
    """

    op: str
    build: Build
    arrays: list[np.ndarray]
    expected: Callable[..., Any] | None = None
    ios: int = 16
    ours: bool = False
    alone: Build | None = None


def floats(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


def positive(*shape: int) -> np.ndarray:
    return RANDOM.uniform(0.1, 0.9, size=shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def halves(*shape: int) -> np.ndarray:
    return floats(*shape).astype(np.float16)


def unary(
    op: str, x: np.ndarray, expected: Callable[..., Any], ios: int = 16, ours: bool = False
) -> Case:
    return Case(op, lambda v: getattr(mb, op)(x=v), [x], expected, ios, ours)


X = floats(2, 3, 4)
Y = floats(3, 1)
P = positive(2, 3, 4)
IMAGE = floats(1, 4, 7, 6)
