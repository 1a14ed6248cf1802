"""Cases: images times prompts of every type, the same ones on every run and machine."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from mobilesam.data.masked_images import Segment, read_labels, segment_mask
from mobilesam.data.sample_photos import PHOTOS, Box, data_folder
from mobilesam.inference.prompts import Prompt, make_prompt
from mobilesam.inference.transforms import Frame

PromptType = Literal[
    "one_point",
    "two_points",
    "several_points",
    "box",
    "box_and_point",
    "mask_refinement",
    "border_point",
]
PROMPT_TYPES: tuple[PromptType, ...] = get_args(PromptType)

MIN_COVER, MAX_COVER, MIN_PIXELS = 0.001, 0.999, 64
DEGENERATE_RULE = (
    f"A mask is degenerate, and its IoU is not judged, when the reference mask covers less than "
    f"{MIN_COVER:.1%} or more than {MAX_COVER:.1%} of the image, or fewer than {MIN_PIXELS} pixels."
)

Bools = npt.NDArray[np.bool_]

EDGE = 1.5  # pixels from the image's edge


@dataclass(frozen=True)
class Case:
    """One image with one prompt.

    Attributes:
        image: name of the image.
        name: of the prompt, unique within the image.
        prompt_type: what kind of prompt it is.
        prompt: as :func:`mobilesam.inference.prompts.make_prompt` returns it.
        frame: geometry of the image in the model's square.
        human_mask: [H, W] bool, the mask a person drew of what the prompt points at, or None.
        refines: the prompt still lacks its mask input: the reference's logits of ``one_point``.
    """

    image: str
    name: str
    prompt_type: PromptType
    prompt: Prompt
    frame: Frame
    human_mask: Bools | None = None
    refines: bool = False

    @property
    def slots(self) -> int:
        """Decoder slots the prompt takes: its points, and a box's two corners or SAM's padding."""
        points = len(self.prompt.point_coords)
        return points + 2 if self.prompt.box is not None else points + 1

    def refined(self, low_res: npt.NDArray[np.float32]) -> "Case":
        """The case with the logits [S/4, S/4] of an earlier pass as its mask input."""
        return replace(self, prompt=replace(self.prompt, mask_input=low_res), refines=False)


@dataclass(frozen=True)
class Subject:
    """What the prompts of an image point at.

    Attributes:
        box: x1, y1, x2, y2 in pixels.
        point: x, y well inside.
        mask: [H, W] bool, drawn by a person, or None.
    """

    box: Box
    point: tuple[float, float]
    mask: Bools | None = None

    @classmethod
    def of_box(cls, box: Box) -> "Subject":
        """A subject of which only the box is known."""
        return cls(box, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))


@dataclass(frozen=True)
class PromptedPhoto:
    """A photo and what to point at in it, before either is read.

    Attributes:
        name: in the report.
        load: decodes the image, HxWx3 uint8 RGB.
        subject: returns what to point at in an image of that (H, W).
        turn: place among the photos; rotates which edge and which corner the border points lie at.
    """

    name: str
    load: Callable[[], np.ndarray]
    subject: Callable[[tuple[int, int]], Subject]
    turn: int = 0

    def cases(self, size: tuple[int, int], image_size: int) -> list[Case]:
        """The image's cases in a frame of side ``image_size``; ``one_point`` comes first."""
        return cases_of(self.name, self.subject(size), size, image_size, self.turn)


def cases_of(
    image: str, subject: Subject, size: tuple[int, int], image_size: int, turn: int
) -> list[Case]:
    """Every case of one image; ``one_point`` comes first.

    Args:
        image: its name.
        subject: what to point at.
        size: H, W of the image in pixels.
        image_size: S, the side of the model's frame.
        turn: place among the photos; rotates which edge and which corner the border points lie at.

    Raises:
        ImageError: the image is too elongated for the frame.
    """
    frame = Frame(size, image_size)
    made = []
    for name, kind, points, labels, box in _prompts(subject, size, turn):
        prompt = make_prompt(points or None, labels or None, box, original_size=size)
        mask = None if kind == "border_point" else subject.mask
        made.append(Case(image, name, kind, prompt, frame, mask, kind == "mask_refinement"))
    return made


def is_degenerate(mask: Bools) -> bool:
    """Whether IoU with this reference mask [H, W] says too little; see DEGENERATE_RULE."""
    covered = int(np.count_nonzero(mask))
    return covered < MIN_PIXELS or not MIN_COVER <= covered / mask.size <= MAX_COVER


def default_photos() -> list[PromptedPhoto]:
    """Photos that come with scikit-image: several aspect ratios, smaller and larger than 1024.

    Raises:
        MissingDependencyError: scikit-image is not installed.
    """
    data_folder()
    return [
        PromptedPhoto(
            shipped.name, shipped.load, partial(_subject_of, Subject.of_box(shipped.box)), turn
        )
        for turn, shipped in enumerate(photo for photo in PHOTOS if photo.judged)
    ]


def _subject_of(subject: Subject, _size: tuple[int, int]) -> Subject:
    """The same subject whatever the image's size: it was written down for one."""
    return subject


def default_cases(image_size: int = 1024) -> list[Case]:
    """Every case of the built-in photos."""
    return [
        case
        for photo in default_photos()
        for case in photo.cases(photo.load().shape[:2], image_size)
    ]


def middle(size: tuple[int, int]) -> Subject:
    """Stands in for a subject where nothing is known of an image: its middle half."""
    height, width = size
    return Subject.of_box((width // 4, height // 4, width - width // 4, height - height // 4))


def label_subject(path: Path, segment: Segment, size: tuple[int, int]) -> Subject:
    """A subject whose mask is one segment of a label image that must be of the image's (H, W).

    Raises:
        InputError: the label image cannot be used, or has no such segment.
    """
    x1, y1, x2, y2 = (round(value) for value in segment.box)
    mask = segment_mask(read_labels(path, size), segment, path)
    return Subject((x1, y1, x2, y2), segment.point, mask)


_Points = list[tuple[float, float]]
_Row = tuple[str, PromptType, _Points, list[int], Box | None]


def _prompts(subject: Subject, size: tuple[int, int], turn: int) -> list[_Row]:
    """Name, type, points, labels and box of every prompt for a subject."""
    height, width = size
    click, box = subject.point, subject.box
    inside = _spread(subject)
    out = _outside(subject, size)
    x, y = min(EDGE, width / 2), min(EDGE, height / 2)  # an image may be a pixel wide
    edge = [(x, height / 2), (width / 2, y), (width - x, height / 2), (width / 2, height - y)]
    corner = [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)]
    return [
        ("one point", "one_point", [click], [1], None),
        ("two points (+ -)", "two_points", [click, out[0]], [1, 0], None),
        (
            "five points (+ + + - -)",
            "several_points",
            [click, *inside, *out],
            [1, 1, 1, 0, 0],
            None,
        ),
        ("box", "box", [], [], box),
        ("box and point", "box_and_point", [click], [1], box),
        ("point and earlier mask", "mask_refinement", [inside[1]], [1], None),
        ("point at the edge", "border_point", [edge[turn % 4]], [1], None),
        ("point in the corner", "border_point", [corner[turn % 4]], [1], None),
    ]


def _spread(subject: Subject) -> _Points:
    """Two points inside the subject, left and right of its middle."""
    x1, y1, x2, y2 = subject.box
    if subject.mask is None:
        return [((3 * x1 + x2) / 4, (y1 + 2 * y2) / 3), ((x1 + 3 * x2) / 4, (2 * y1 + y2) / 3)]
    # A quarter and three quarters of the way through the mask's pixels, column by column.
    columns, rows = np.nonzero(subject.mask.T)
    return [(float(columns[i]), float(rows[i])) for i in (len(rows) // 4, 3 * len(rows) // 4)]


def _outside(subject: Subject, size: tuple[int, int]) -> _Points:
    """Two points outside the subject's box where there is room, else in the image's corners."""
    height, width = size
    x1, y1, x2, y2 = subject.box
    gaps = {
        (x1 / 2, (y1 + y2) / 2): x1,
        ((x2 + width) / 2, (y1 + y2) / 2): width - x2,
        ((x1 + x2) / 2, y1 / 2): y1,
        ((x1 + x2) / 2, (y2 + height) / 2): height - y2,
    }
    widest = sorted(gaps, key=lambda point: -gaps[point])[:2]
    corners = [(1.0, 1.0), (width - 1.0, height - 1.0)]
    return [p if gaps[p] >= 4 else c for p, c in zip(widest, corners, strict=True)]
