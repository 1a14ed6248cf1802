"""The interface to a file that ``bisect`` needs of every format: its ops, observed as they run."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor


class Value(NamedTuple):
    """A tensor of the program: its name, shape and dtype (``float16``, ``float32``, ``int32``...).

    A side that is not fixed is None. Values of float16 are handed over as float32 tensors.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str


class OpInput(NamedTuple):
    """A tensor that an op reads, and whether it is a constant of the file."""

    value: Value
    constant: bool


class Operation(NamedTuple):
    """One op.

    Attributes:
        name: of the value it gives, of the first if several.
        scope: path of the module that computed it, where the file says so, else empty.
    """

    name: str
    op_type: str
    inputs: tuple[OpInput, ...]
    outputs: tuple[Value, ...]
    scope: str = ""


class EvaluatedOp(NamedTuple):
    """One op as it was just evaluated.

    Attributes:
        place: of the op in the engine's operations.
        inputs, outputs: values in the op's order.
        again: evaluates the op with other inputs; None where the format offers no way to.
    """

    place: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    again: Callable[[Sequence[Tensor]], Sequence[Tensor]] | None


Observer = Callable[[EvaluatedOp], None]


class Engine(Protocol):
    """An opened file of one component.

    Attributes:
        title: who computes, in words.
        inputs: of the program.
        operations: in the order in which they are run.
        copying: op types whose output is their first input, in another dtype at most.
        moving: op types that only put values elsewhere.
    """

    title: str
    inputs: tuple[Value, ...]
    operations: tuple[Operation, ...]
    copying: frozenset[str]
    moving: frozenset[str]

    def run(self, inputs: Mapping[str, np.ndarray], observe: Observer) -> None:
        """Evaluate the program, and call ``observe`` after each op.

        Raises:
            BundleError: the file cannot be evaluated.
        """
