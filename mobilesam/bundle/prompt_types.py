"""Every kind of prompt that the contract allows, about one subject in a photo.

The verdict asks them and static schemes are calibrated on them, so that no input of the decoder is
left out of either. They come from the contract's own inputs: which labels the points have, whether
there is a box, whether there is a mask input, and how many slots are taken.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

Point = tuple[float, float]
Box = tuple[float, float, float, float]

PromptType = Literal[
    "one_point",
    "two_points",
    "several_points",
    "box",
    "box_and_point",
    "mask_refinement",
    "border_point",
    "negative_points",
    "mask_only",
    "box_and_mask",
    "every_slot",
    "extreme_box",
    "stale_inputs",
]
PROMPT_TYPES: tuple[PromptType, ...] = get_args(PromptType)

Packing = Literal["plain", "stale", "infinite", "gaps"]
"""How a prompt lies in the decoder's inputs; see :func:`mobilesam.bundle.packing.packed`."""

EVERY_COUNT = 16
"""Up to here every number of points is asked; above it, doublings and the largest number."""

STRIP_PROMPTS: tuple[PromptType, ...] = ("one_point", "box")
"""What strips of a photo are asked; they show what an encoder does with padding."""

EDGE = 1.5
"""Pixels between a border point and the image's edge."""


@dataclass(frozen=True)
class Subject:
    """What the prompts of an image point at.

    Attributes:
        box: x1, y1, x2, y2 in pixels.
        point: x, y well inside.
        mask: [H, W] bool, drawn by a person, or None.
    """

    box: Box
    point: Point
    mask: npt.NDArray[np.bool_] | None = None

    @classmethod
    def of_box(cls, box: Box) -> "Subject":
        """A subject of which only the box is known."""
        return cls(box, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))

    @classmethod
    def middle(cls, size: tuple[int, int]) -> "Subject":
        """Stands in where nothing is known of an image of (H, W): its middle half."""
        height, width = size
        return cls.of_box((width // 4, height // 4, width - width // 4, height - height // 4))


@dataclass(frozen=True)
class PromptRow:
    """One prompt, not yet checked against its image.

    Attributes:
        name: unique among an image's prompts.
        prompt_type: what kind it is.
        points: x, y in pixels. labels: 1 foreground, 0 background, one for each point.
        box: x1, y1, x2, y2 in pixels, or None.
        refines: the mask input is the first answer's logits.
        packing: how it lies in the decoder's inputs.
    """

    name: str
    prompt_type: PromptType
    points: Sequence[Point] = ()
    labels: Sequence[int] = ()
    box: Box | None = None
    refines: bool = False
    packing: Packing = field(default="plain", kw_only=True)

    @property
    def slots(self) -> int:
        """Decoder slots it takes: its points, and a box's two corners or SAM's padding point."""
        return len(self.points) + (2 if self.box is not None else bool(self.points))

    @property
    def says_where(self) -> bool:
        """Whether a foreground point or a box says where the subject is."""
        return self.box is not None or 1 in self.labels


class Share(NamedTuple):
    """One photo among those over which the prompts are spread that need not be asked of each."""

    place: int
    photos: int

    def of(self, rows: Sequence[PromptRow]) -> list[PromptRow]:
        """This photo's rows: every one belongs to some photo, and every photo has at least one."""
        own = list(rows[self.place :: self.photos])
        return own or [rows[self.place % len(rows)]]

    @property
    def following(self) -> "Share":
        """The next photo's, after the last one the first's."""
        return Share((self.place + 1) % self.photos, self.photos)


def everyday_prompts(subject: Subject, size: tuple[int, int], turn: int = 0) -> list[PromptRow]:
    """What users ask most, and what has gone wrong most often; one click comes first.

    Args:
        subject: what to point at.
        size: H, W of the image in pixels.
        turn: rotates which edge and which corner the border points lie at.
    """
    height, width = size
    click, box = subject.point, subject.box
    inside, outside = _spread(subject), _outside(subject, size)[:2]
    x, y = min(EDGE, width / 2), min(EDGE, height / 2)  # an image may be a pixel wide
    edge = [(x, height / 2), (width / 2, y), (width - x, height / 2), (width / 2, height - y)]
    corner = [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)]
    several = [click, *inside, *outside]
    return [
        PromptRow("one point", "one_point", [click], [1]),
        PromptRow("two points (+ -)", "two_points", [click, outside[0]], [1, 0]),
        PromptRow("five points (+ + + - -)", "several_points", several, [1, 1, 1, 0, 0]),
        PromptRow("box", "box", box=box),
        PromptRow("box and point", "box_and_point", [click], [1], box),
        PromptRow("point and earlier mask", "mask_refinement", [inside[1]], [1], refines=True),
        PromptRow("point at the edge", "border_point", [edge[turn % 4]], [1]),
        PromptRow("point in the corner", "border_point", [corner[turn % 4]], [1]),
    ]


def remaining_prompts(subject: Subject, size: tuple[int, int], slots: int) -> list[PromptRow]:
    """What else the contract allows: with :func:`everyday_prompts`, every kind of input.

    Every combination of labels, box and mask input; every number of points, with and without a
    box, up to all slots of the decoder; boxes of a few pixels and of the whole image; coordinates
    between pixels; and inputs that hold something where nothing is to be read.

    Args:
        subject: what to point at.
        size: H, W of the image in pixels.
        slots: K of the decoder; no prompt takes more.
    """
    rows = [
        *_combinations(subject, size),
        *_every_count(subject, size, slots),
        *_extreme_boxes(subject, size),
        *_unread_inputs(subject),
    ]
    return [row for row in rows if row.slots <= slots]


def _combinations(subject: Subject, size: tuple[int, int]) -> Iterator[PromptRow]:
    """Labels x box x mask input, but for what everyday prompts hold and the prompt of nothing."""
    out = _outside(subject, size)
    points: dict[str, tuple[list[Point], list[int]]] = {
        "": ([], []),
        "+": ([subject.point], [1]),
        "-": ([out[0]], [0]),
        "+ -": ([subject.point, out[0]], [1, 0]),
        "- -": (out[:2], [0, 0]),
    }
    known = {("+", False, False), ("+ -", False, False), ("", True, False), ("+", True, False)}
    known |= {("+", False, True), ("", False, False)}
    for signs, box, mask in product(points, (False, True), (False, True)):
        if (signs, box, mask) in known:
            continue
        parts = [f"points ({signs})" if signs else "", "box" if box else ""]
        name = " and ".join(part for part in (*parts, "earlier mask" if mask else "") if part)
        kind: PromptType = "negative_points"
        if box and mask:
            kind = "box_and_mask"
        elif not signs:
            kind = "mask_only"
        elif box:
            kind = "box_and_point"
        elif mask and "+" in signs:
            kind = "mask_refinement"
        given = points[signs]
        yield PromptRow(name, kind, *given, subject.box if box else None, mask)


def _every_count(subject: Subject, size: tuple[int, int], slots: int) -> Iterator[PromptRow]:
    """Each number of points, foreground and background in turns, without a box and with one."""
    counts = [n for n in range(1, slots + 1) if n <= EVERY_COUNT or not n & (n - 1)]
    for count in sorted({*counts, slots - 1, slots - 2} - {0, -1, 1, 2, 5}):
        points, labels = _mixed_points(subject, size, count)
        yield PromptRow(f"{count} points", "every_slot", points, labels)
    if slots > 2:
        points, labels = _mixed_points(subject, size, slots - 1, first=0)
        yield PromptRow("as many points, background first", "every_slot", points, labels)
    for count in sorted({*counts, slots - 2} - {0, -1, 1}):
        points, labels = _mixed_points(subject, size, count, first=0)
        yield PromptRow(f"box and {count} points", "every_slot", points, labels, subject.box)


def _extreme_boxes(subject: Subject, size: tuple[int, int]) -> Iterator[PromptRow]:
    height, width = size
    x, y = subject.point
    tiny = (max(0.0, x - 1.3), max(0.0, y - 0.9), min(width, x + 1.4), min(height, y + 1.2))
    yield PromptRow("box of three pixels", "extreme_box", box=tiny)
    yield PromptRow("box of the whole image", "extreme_box", box=(0.0, 0.0, width, height))


def _unread_inputs(subject: Subject) -> Iterator[PromptRow]:
    """What must not change an answer: its prompts are also asked without."""
    click: tuple[list[Point], list[int]] = ([subject.point], [1])
    yield PromptRow("one point, unread inputs left full", "stale_inputs", *click, packing="stale")
    yield PromptRow(
        "box, unread inputs left full", "stale_inputs", box=subject.box, packing="stale"
    )
    yield PromptRow("one point, unread inputs infinite", "stale_inputs", *click, packing="infinite")
    yield PromptRow(
        "box and point, unused slots first", "stale_inputs", *click, subject.box, packing="gaps"
    )


def _mixed_points(
    subject: Subject, size: tuple[int, int], count: int, first: int = 1
) -> tuple[list[Point], list[int]]:
    """Points inside and outside the subject in turns, none of them on a whole pixel."""
    height, width = size
    labels = [(first + index) % 2 for index in range(count)]
    inside, outside = iter(_inside(subject, count)), iter(_outside(subject, size, count))
    points = []
    for label in labels:
        x, y = next(inside) if label else next(outside)
        points.append((min(x + 0.37, width), min(y + 0.61, height)))
    return points, labels


def _spread(subject: Subject) -> list[Point]:
    """Two points inside the subject, left and right of its middle."""
    if subject.mask is not None:
        return _inside(subject, 2)
    x1, y1, x2, y2 = subject.box
    return [((3 * x1 + x2) / 4, (y1 + 2 * y2) / 3), ((x1 + 3 * x2) / 4, (2 * y1 + y2) / 3)]


def _inside(subject: Subject, count: int) -> list[Point]:
    """Points inside the subject, from left to right."""
    shares = [(index + 0.5) / count for index in range(count)]
    if subject.mask is None:
        x1, y1, x2, y2 = subject.box
        heights = [0.35 + 0.3 * (index % 2) for index in range(count)]
        return [
            (x1 + s * (x2 - x1), y1 + h * (y2 - y1)) for s, h in zip(shares, heights, strict=True)
        ]
    # As far through the mask's pixels, column by column.
    columns, rows = np.nonzero(subject.mask.T)
    places = [int(share * len(rows)) for share in shares]
    return [(float(columns[i]), float(rows[i])) for i in places]


def _outside(subject: Subject, size: tuple[int, int], count: int = 4) -> list[Point]:
    """Points outside the subject's box, the roomiest side first; where there is no room, corners.

    More than four lie on the way from those to the corners of the image.
    """
    height, width = size
    x1, y1, x2, y2 = subject.box
    gaps = {
        (x1 / 2, (y1 + y2) / 2): x1,
        ((x2 + width) / 2, (y1 + y2) / 2): width - x2,
        ((x1 + x2) / 2, y1 / 2): y1,
        ((x1 + x2) / 2, (y2 + height) / 2): height - y2,
    }
    widest = sorted(gaps, key=lambda point: -gaps[point])
    corners: list[Point] = [(1.0, 1.0), (width - 1.0, height - 1.0)]
    corners += [(width - 1.0, 1.0), (1.0, height - 1.0)]
    first = [p if gaps[p] >= 4 else c for p, c in zip(widest, corners, strict=True)]
    points = []
    for index in range(count):
        (x, y), (u, v), way = first[index % 4], corners[index % 4], (index // 4) / 6 % 1
        points.append((x + way * (u - x), y + way * (v - y)))
    return points
