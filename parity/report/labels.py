"""Where to write the names of points on a chart so that they can be read."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

LETTER, HEIGHT = 7.2, 15.0
"""Pixels that a letter is wide and a line of text is high, a little more than the page's font."""

MARKER = 7.0
"""Half of the square that a marker keeps free."""

DISTANCES = (10.0, 20.0, 32.0, 46.0, 62.0, 80.0, 100.0)
"""Pixels between a point and its name; from LED on, a line leads from one to the other."""

LED = 20.0

CRAMPED = 12.0
"""Square pixels that a name may share with others and with markers before it is left out."""

DIRECTIONS = ((1, 0), (-1, 0), (0, -1), (0, 1), (0.8, -0.7), (0.8, 0.7), (-0.8, -0.7), (-0.8, 0.7))


class Spot(NamedTuple):
    """A point in pixels, y downwards."""

    x: float
    y: float


class Box(NamedTuple):
    """Left, top, right and bottom in pixels, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: "Box") -> float:
        """Square pixels that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(width, 0.0) * max(height, 0.0)


class Label(NamedTuple):
    """A name's box, and the end of the line that leads to it; None if it is beside its point."""

    box: Box
    leader: Spot | None


def place(
    points: Sequence[Spot],
    names: Sequence[str],
    within: Box,
    line: Sequence[Spot] = (),
    first: Sequence[bool] = (),
) -> list[Label | None]:
    """A place for each name near its point, as free of names, markers and the line as there is.

    Args:
        points: centres of markers.
        names: of the points.
        within: what no name may leave; one that is wider than it begins at its left.
        line: corners of a line that names had better not cross.
        first: which names are placed before the others, and whether there is room or not.

    Returns:
        For each point its label; None where there is no room for its name.
    """
    markers = [_around(point) for point in points]
    segments = list(pairwise(line))
    labels: list[Label | None] = [None] * len(points)
    urgent = first or [False] * len(points)
    for index in sorted(range(len(points)), key=lambda index: not urgent[index]):
        point, own_name = points[index], names[index]
        placed = [(at, label) for at, label in zip(points, labels, strict=True) if label]
        taken = [*(label.box for _, label in placed), *markers[:index], *markers[index + 1 :]]
        leaders = [(at, label.leader) for at, label in placed if label.leader]
        least = float("inf")
        for cost, label in _candidates(point, own_name, within):
            shared = sum(label.box.overlap(box) for box in taken)
            if shared > CRAMPED and not urgent[index]:
                continue
            cost += 40 * shared
            cost += 40 * sum(_crosses(*segment, label.box) for segment in segments)
            cost += 400 * sum(_crosses(*segment, label.box) for segment in leaders)
            if label.leader:
                cost += 1500 * sum(_crosses(point, label.leader, box) for box in taken)
            if cost < least:
                labels[index], least = label, cost
    return labels


def _around(point: Spot) -> Box:
    return Box(point.x - MARKER, point.y - MARKER, point.x + MARKER, point.y + MARKER)


def _candidates(point: Spot, name: str, within: Box) -> Iterator[tuple[float, Label]]:
    """Boxes around the point, each with what its distance costs."""
    width = LETTER * len(name)
    for distance in DISTANCES:
        for rank, (right, down) in enumerate(DIRECTIONS):
            x, y = point.x + right * distance, point.y + down * distance
            left = x if right > 0 else x - width if right < 0 else x - width / 2
            top = y - HEIGHT / 2
            left = max(min(left, within.right - width), within.left)
            top = max(min(top, within.bottom - HEIGHT), within.top)
            box = Box(left, top, left + width, top + HEIGHT)
            if box.overlap(_around(point)):
                continue
            near = Spot(min(max(point.x, box.left), box.right), min(max(point.y, top), box.bottom))
            yield distance + rank, Label(box, near if distance >= LED else None)


def _crosses(start: Spot, end: Spot, box: Box) -> bool:
    """Whether a piece of the line from start to end lies in the box (Liang and Barsky)."""
    first, last = 0.0, 1.0
    along_x, along_y = end.x - start.x, end.y - start.y
    for step, room in (
        (-along_x, start.x - box.left),
        (along_x, box.right - start.x),
        (-along_y, start.y - box.top),
        (along_y, box.bottom - start.y),
    ):
        if step == 0:
            if room <= 0:
                return False
        elif step < 0:
            first = max(first, room / step)
        else:
            last = min(last, room / step)
    return first < last
