"""What a program tells of itself: its tensors, its ops, and one op as it was evaluated."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor


class TensorType(NamedTuple):
    """Name, shape and Core ML dtype (``fp16``, ``fp32``, ``int32``, ...) of a tensor.

    A side that depends on the shape of a flexible input is None.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str


class Operand(NamedTuple):
    """A tensor that an op reads."""

    tensor: TensorType
    constant: bool


class OpInfo(NamedTuple):
    """One op of a program; an argument that is a list gives one operand for each item."""

    name: str
    op_type: str
    inputs: tuple[Operand, ...]
    outputs: tuple[TensorType, ...]


class Evaluation(NamedTuple):
    """One op as it was just evaluated, for an observer of a run.

    Attributes:
        place: of the op in :attr:`CoreMLProgram.ops`.
        inputs, outputs: values, in the order of the op's. They must not be changed.
        again: evaluates the op with other inputs, rounding as the program does; its outputs.
    """

    place: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    again: Callable[[Sequence[Tensor]], tuple[Tensor, ...]]
