"""In which order the points of a grid are asked about, and which of them are left out."""

from collections.abc import Callable, Iterator, Sequence


class EveryPoint:
    """All points, in their order.

    Args:
        count: how many there are.
    """

    def __init__(self, count: int) -> None:
        self._count = count

    def rounds(self) -> Iterator[Sequence[int]]:
        """Indices of the points to ask about next; those of a round may be asked in any order."""
        yield range(self._count)

    def found(self, index: int) -> None:
        """Told for each point that gave a good mask, before the next round is taken."""


class CoarseToFine(EveryPoint):
    """First every second point of every second row; the others where one beside them gave a mask.

    Args:
        side: points a side of the grid, which lie row by row.
        left_out: called for each point that is not asked about.
    """

    def __init__(self, side: int, left_out: Callable[[], None]) -> None:
        super().__init__(side * side)
        self._side = side
        self._left_out = left_out
        self._good: set[tuple[int, int]] = set()

    def rounds(self) -> Iterator[Sequence[int]]:
        cells = [divmod(index, self._side) for index in range(self._count)]
        yield [index for index, cell in enumerate(cells) if self._is_coarse(*cell)]
        fine = []
        for index, (row, column) in enumerate(cells):
            if self._is_coarse(row, column):
                continue
            around = ((row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1))
            if self._good.isdisjoint(around):
                self._left_out()
            else:
                fine.append(index)
        yield fine

    def found(self, index: int) -> None:
        self._good.add(divmod(index, self._side))

    def _is_coarse(self, row: int, column: int) -> bool:
        # The last of an odd number of rows has coarse points above it, the only row is coarse.
        return self._side == 1 or (row % 2 == 1 and column % 2 == 1)
