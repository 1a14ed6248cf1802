"""How wrong a correct op may be: what rounding alone does to it, found by experiment.

The op is evaluated again with every float it reads moved up or down by half a unit in the last
place of its dtype. What that changes is what rounding may change: it covers cancellation in a
subtraction, the length of a sum and the slope of an exponential without a formula for each op.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class DtypeRounding(NamedTuple):
    """A float dtype's half unit in the last place of 1, half its smallest number, and its smallest
    normal number, below which digits are lost."""

    unit: float
    smallest: float
    normal: float


ROUNDING = {
    "float16": DtypeRounding(2.0**-11, 2.0**-25, 2.0**-14),
    # Twice the half unit: float32 sums are also rounded inside an op, in an order of its own.
    "float32": DtypeRounding(2.0**-23, 2.0**-126, 2.0**-126),
}
EXACT = DtypeRounding(0.0, 0.0, 0.0)
"""The rounding of integers and booleans, which are stored exactly."""

_FEW_BITS = torch.bfloat16
_PRIME = 1_000_003


def rounding_of(dtype: str) -> DtypeRounding:
    """What storing a value in a dtype, by its name, does to it."""
    return ROUNDING.get(dtype, EXACT)


class Jitter:
    """Random signs for elements of any number of tensors, the same on every run."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self._signs = torch.randint(0, 2, (_PRIME,), generator=generator).float() * 2 - 1
        self._start = 0

    def moved(self, x: Tensor, unit: float) -> Tensor:
        """A copy of a tensor with each element a random one of x(1 - unit) and x(1 + unit).

        Numbers of few bits (0, 2, 0.5, an exponent, a mask) are stored exactly and stay.
        """
        if not x.is_floating_point() or unit == 0:
            return x
        exact = x == x.to(_FEW_BITS).to(x.dtype)
        if exact.all():
            return x
        moved = x * (1 + unit * self._for(x.numel()).reshape(x.shape))
        return torch.where(exact, x, moved)

    def _for(self, count: int) -> Tensor:
        """``count`` signs, taken from a different place of the repeated row on each call."""
        self._start = (self._start + 7919) % _PRIME
        end = self._start + count
        signs = self._signs if end <= _PRIME else self._signs.repeat(1 + end // _PRIME)
        return signs[self._start : end]
