"""Tables of a flatbuffer read by the numbers of their fields, where no generated reader exists."""

from typing import Any

import numpy as np
from flatbuffers import encode, number_types, packer
from flatbuffers.table import Table


class FlatTable:
    """One table. Fields are counted from 0 in the schema's order; what is not there reads as 0."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def has(self, field: int) -> bool:
        """Whether the field is there."""
        return bool(self._at(field))

    def number(self, field: int, kind: str = "Uint32") -> int:
        """An integer; ``kind`` as in ``flatbuffers.number_types``, such as ``Int32``."""
        return int(self._scalar(field, kind))

    def real(self, field: int) -> float:
        """A float32."""
        return float(self._scalar(field, "Float32"))

    def numbers(self, field: int, kind: str) -> np.ndarray:
        """A vector of scalars."""
        at = self._at(field)
        if not at:
            return np.zeros(0)
        found: np.ndarray = self._table.GetVectorAsNumpy(_flags(kind), at)
        return found

    def text(self, field: int) -> str:
        """A string."""
        at = self._at(field)
        found = bytes(self._table.String(at + self._table.Pos)) if at else b""
        return found.decode("utf-8", "replace")

    def table(self, field: int) -> "FlatTable":
        """A table, or that of a union.

        Raises:
            KeyError: it is not there.
        """
        at = self._at(field)
        if not at:
            raise KeyError(field)
        position = self._table.Indirect(at + self._table.Pos)
        return FlatTable(Table(self._table.Bytes, position))

    def tables(self, field: int) -> list["FlatTable"]:
        """A vector of tables."""
        at = self._at(field)
        if not at:
            return []
        start = self._table.Vector(at)
        places = (start + 4 * i for i in range(self._table.VectorLen(at)))
        return [FlatTable(Table(self._table.Bytes, self._table.Indirect(p))) for p in places]

    def _scalar(self, field: int, kind: str) -> Any:
        at = self._at(field)
        return self._table.Get(_flags(kind), self._table.Pos + at) if at else 0

    def _at(self, field: int) -> int:
        """Where a field lies from the table's position; 0 if it is not there."""
        return int(self._table.Offset(4 + 2 * field))


def _flags(kind: str) -> Any:
    return getattr(number_types, f"{kind}Flags")


def root_of(content: bytes) -> FlatTable:
    """The root table of a flatbuffer."""
    return FlatTable(Table(content, encode.Get(packer.uoffset, content, 0)))
