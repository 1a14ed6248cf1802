"""Tables of a flatbuffer read by the numbers of their fields, where no generated reader exists."""

from flatbuffers import encode, number_types, packer
from flatbuffers.table import Table


class FlatTable:
    """One table. Fields are counted from 0 in the schema's order; what is not there reads as 0."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def number(self, field: int, kind: str) -> int:
        """A scalar; ``kind`` as in ``flatbuffers.number_types``, such as ``Int32``."""
        at = self._at(field)
        flags = getattr(number_types, f"{kind}Flags")
        return int(self._table.Get(flags, self._table.Pos + at)) if at else 0

    def numbers(self, field: int, kind: str) -> list[int]:
        """A vector of scalars."""
        at, flags = self._at(field), getattr(number_types, f"{kind}Flags")
        if not at:
            return []
        start, size = self._table.Vector(at), flags.bytewidth
        return [
            int(self._table.Get(flags, start + size * i)) for i in range(self._table.VectorLen(at))
        ]

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

    def _at(self, field: int) -> int:
        """Where a field lies from the table's position; 0 if it is not there."""
        return int(self._table.Offset(4 + 2 * field))


def root_of(content: bytes) -> FlatTable:
    """The root table of a flatbuffer."""
    return FlatTable(Table(content, encode.Get(packer.uoffset, content, 0)))
