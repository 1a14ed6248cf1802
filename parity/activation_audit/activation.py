"""An activation of an exported file that is rounded to integers, as every reader gives it."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np


class Layer(NamedTuple):
    """A layer beside an activation.

    Attributes:
        weight: name of the constant that is its weight, as :mod:`parity.weight_audit` names it.
        side: whether the activation is what the layer reads or what it gives.
        clamped: whether the layer leaves nothing below zero of what it gives.
    """

    weight: str
    side: Literal["input", "output"]
    clamped: bool = False


@dataclass(frozen=True)
class Activation:
    """One scale and zero point that a file's operations round with, and the layers beside it.

    Attributes:
        name: in the file.
        scale, zero_point: an integer q stands for (q - zero_point) * scale.
        bounds: least and greatest integer.
        layers: those that read it or give it; there may be none.
    """

    name: str
    scale: float
    zero_point: float
    bounds: tuple[int, int]
    layers: tuple[Layer, ...] = ()

    @property
    def low(self) -> float:
        """The least value that the integers stand for."""
        return (self.bounds[0] - self.zero_point) * self.scale

    @property
    def high(self) -> float:
        """The greatest value that the integers stand for."""
        return (self.bounds[1] - self.zero_point) * self.scale


def bounds_of(dtype: np.dtype) -> tuple[int, int]:
    """Least and greatest integer of a dtype."""
    about = np.iinfo(dtype)
    return int(about.min), int(about.max)
