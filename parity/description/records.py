"""What a file says of itself, in one form for every format."""

from dataclasses import dataclass, field

from mobilesam.bundle.manifest import TensorRecord

IMAGE = "ImageType"
"""Begins the dtype of an input that an app gives as a pixel buffer, as in ``ImageType RGB``."""

_FEW = 4


@dataclass(frozen=True)
class Tensor:
    """An input or output.

    Attributes:
        dtype: as the contract names them, or ``ImageType`` and the layout of its colours.
        shapes: every shape that it may have; a side of None may be anything.
        meaning: in words; empty where the file says nothing.
    """

    name: str
    dtype: str
    shapes: tuple[tuple[int | None, ...], ...]
    meaning: str = field(default="", compare=False)

    @classmethod
    def of(cls, record: TensorRecord) -> "Tensor":
        """A tensor of the contract."""
        return cls(record.name, record.dtype, record.shapes, record.meaning)

    def __str__(self) -> str:
        shown = self.shapes if len(self.shapes) <= _FEW else (self.shapes[0], self.shapes[-1])
        if self.dtype.startswith(IMAGE):
            return f"{self.dtype} " + " or ".join(f"{shape[-1]}x{shape[-2]}" for shape in shown)
        between = " or " if shown == self.shapes else f" to (in {len(self.shapes)} sizes) "
        sides = ([("?" if side is None else side) for side in shape] for shape in shown)
        return f"{self.dtype} " + between.join(f"[{', '.join(map(str, s))}]" for s in sides)


@dataclass(frozen=True)
class Function:
    """Inputs and outputs of one function, in the order that a caller without names goes by."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a file says of one component.

    Attributes:
        described: what an app is told.
        program: what the program inside the file takes and gives; None where the two are one.
        facts: what the file says of its origin, by the names of ``Conversion.metadata``.
        problems: what else is wrong, each a clause that begins with a noun.
        ordered: whether a caller goes by position, so that the order must be the contract's.
    """

    described: Function
    program: Function | None = None
    facts: dict[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    ordered: bool = False


class UnreadableError(Exception):
    """A file, or the part of it that is asked for, cannot be read; says why in a clause."""
