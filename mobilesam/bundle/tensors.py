"""What an input or output of an exported file is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

SLOT_AXIS = "slot"

Shape = tuple[int | None, ...]
"""A side of None may be anything."""


class Sized(Protocol):
    """What the functions here go by; see :class:`TensorSpec`."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def axes(self) -> tuple[str, ...]: ...
    @property
    def slot_counts(self) -> tuple[int, ...]: ...
    @property
    def open_axes(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class TensorSpec:
    """One input or output.

    Attributes:
        shape: fixed, unless ``slot_counts`` or ``open_axes`` are given.
        axes: a name for each.
        slot_counts: sizes that the ``slot`` axis may have; empty: only the one of ``shape``.
        open_axes: those whose size each photo decides; ``shape`` has one that they may have.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    axes: tuple[str, ...]
    meaning: str
    slot_counts: tuple[int, ...] = ()
    open_axes: tuple[str, ...] = ()

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Every shape that the tensor may have."""
        return shapes_of(self)


@dataclass(frozen=True)
class Signature:
    """One component as a function."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def shapes_of(tensor: Sized) -> tuple[Shape, ...]:
    """A tensor's shape for each size of its ``slot`` axis, with None for its open axes."""
    sides = zip(tensor.axes, tensor.shape, strict=True)
    shape = tuple(None if axis in tensor.open_axes else side for axis, side in sides)
    if not tensor.slot_counts or SLOT_AXIS not in tensor.axes:
        return (shape,)
    axis = tensor.axes.index(SLOT_AXIS)
    return tuple((*shape[:axis], count, *shape[axis + 1 :]) for count in tensor.slot_counts)


def declared_shape(tensor: Sized) -> Shape:
    """A tensor's shape as a format declares it that has a word for sides that may vary."""
    varies = {*tensor.open_axes, *([SLOT_AXIS] if tensor.slot_counts else [])}
    sides = zip(tensor.axes, tensor.shape, strict=True)
    return tuple(None if axis in varies else side for axis, side in sides)


def takes(tensor: Sized, shape: Shape) -> bool:
    """Whether a tensor may have a shape, or may be declared so."""
    return shape == declared_shape(tensor) or any(
        len(shape) == len(each)
        and all(wanted is None or side == wanted for side, wanted in zip(shape, each, strict=True))
        for each in shapes_of(tensor)
    )


def listed(shapes: Sequence[Shape]) -> str:
    """Shapes in words, such as ``[1, 1, any, any]``."""
    return " or ".join(
        f"[{', '.join('any' if side is None else str(side) for side in shape)}]" for shape in shapes
    )
