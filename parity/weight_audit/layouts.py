"""How a file may lay a tensor out: axes in another order, joined, split or of size 1."""

from collections.abc import Iterator, Sequence
from itertools import permutations

import numpy as np

MOST_AXES = 4
"""No tensor of the model has more that are longer than 1."""


def layouts(shape: Sequence[int], stored: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Orders of a tensor's axes in which a constant of another shape may hold it.

    Args:
        shape: of the tensor.
        stored: of the constant, with as many elements.
    """
    axes = [axis for axis, side in enumerate(shape) if side != 1]
    if len(axes) > MOST_AXES:
        return
    others = _steps([side for side in stored if side != 1])
    short = tuple(axis for axis, side in enumerate(shape) if side == 1)
    for order in permutations(axes):
        own = _steps([shape[axis] for axis in order])
        # One shape is the other with axes joined.
        if own <= others or others <= own:
            yield (*short, *order)


def arranged(values: np.ndarray, shape: Sequence[int], order: Sequence[int]) -> np.ndarray:
    """A constant's values as the tensor has them.

    Args:
        values: as many elements as ``shape`` has.
        shape: of the tensor.
        order: of the tensor's axes, as the constant holds them.
    """
    moved = values.reshape([shape[axis] for axis in order])
    return moved.transpose(np.argsort(order))


def _steps(sides: Sequence[int]) -> set[int]:
    """Elements between neighbours along each axis; joined axes have fewer of them."""
    return {int(step) for step in np.cumprod([1, *reversed(sides)])}
