"""Cases: images times prompts of every type, the same ones on every run and machine."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mobilesam.bundle.packing import packed
from mobilesam.bundle.prompt_types import (
    Packing,
    PromptRow,
    PromptType,
    Share,
    Subject,
    everyday_prompts,
    remaining_prompts,
)
from mobilesam.data.masked_images import Segment, read_labels, segment_mask
from mobilesam.data.sample_photos import PHOTOS, data_folder
from mobilesam.inference.prompts import Prompt, make_prompt
from mobilesam.inference.transforms import Frame
from mobilesam.runtimes.base import BundleRunner

MIN_COVER, MAX_COVER, MIN_PIXELS = 0.001, 0.999, 64
DEGENERATE_RULE = (
    f"A mask is degenerate, and its IoU is not judged, when the reference mask covers less than "
    f"{MIN_COVER:.1%} or more than {MAX_COVER:.1%} of the image, or fewer than {MIN_PIXELS} pixels."
)

Bools = npt.NDArray[np.bool_]


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
        packing: how the prompt lies in the decoder's inputs; the answer is the same.
        everyday: asked of decoder and of both files together on every photo; others of the decoder
            alone, each on one photo.
    """

    image: str
    name: str
    prompt_type: PromptType
    prompt: Prompt
    frame: Frame
    human_mask: Bools | None = None
    refines: bool = False
    packing: Packing = "plain"
    everyday: bool = True

    @property
    def slots(self) -> int:
        """Decoder slots the prompt takes: its points, and a box's two corners or SAM's padding."""
        points = len(self.prompt.point_coords)
        return points + (2 if self.prompt.box is not None else bool(points))

    def inputs(self, runner: BundleRunner) -> dict[str, np.ndarray]:
        """The decoder's inputs of the case, but for the image embedding."""
        plain = runner.prepare_prompt(self.prompt, self.frame)
        return packed(plain, self.packing, runner.contract)

    def refined(self, low_res: npt.NDArray[np.float32]) -> "Case":
        """The case with the logits [S/4, S/4] of an earlier pass as its mask input."""
        return replace(self, prompt=replace(self.prompt, mask_input=low_res), refines=False)


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


def everyday_cases(
    image: str, subject: Subject, size: tuple[int, int], image_size: int, turn: int = 0
) -> list[Case]:
    """The cases that every image has; ``one_point`` comes first.

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
    rows = everyday_prompts(subject, size, turn)
    return [_case(image, subject, frame, row, everyday=True) for row in rows]


def further_cases(
    image: str,
    subject: Subject,
    size: tuple[int, int],
    image_size: int,
    slots: int,
    share: Share,
) -> list[Case]:
    """The image's share of what else a decoder of so many slots can be asked.

    Args:
        image, subject, size, image_size: as of :func:`everyday_cases`.
        slots: K, the most of any decoder that is judged.
        share: which of them.
    """
    frame = Frame(size, image_size)
    rows = share.of(remaining_prompts(subject, size, slots))
    return [_case(image, subject, frame, row, everyday=False) for row in rows]


def _case(image: str, subject: Subject, frame: Frame, row: PromptRow, *, everyday: bool) -> Case:
    prompt = make_prompt(
        row.points or None,
        row.labels or None,
        row.box,
        _PENDING if row.refines and not row.points and row.box is None else None,
        original_size=frame.original_size,
        low_res_size=1,
    )
    points_at_it = row.prompt_type not in ("border_point", "extreme_box")
    return Case(
        image=image,
        name=row.name,
        prompt_type=row.prompt_type,
        prompt=prompt,
        frame=frame,
        human_mask=subject.mask if points_at_it else None,
        refines=row.refines,
        packing=row.packing,
        everyday=everyday,
    )


_PENDING = np.zeros((1, 1), np.float32)
"""Holds the place of a mask input in a prompt that has nothing else."""


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


def label_subject(path: Path, segment: Segment, size: tuple[int, int]) -> Subject:
    """A subject whose mask is one segment of a label image that must be of the image's (H, W).

    Raises:
        InputError: the label image cannot be used, or has no such segment.
    """
    x1, y1, x2, y2 = (round(value) for value in segment.box)
    mask = segment_mask(read_labels(path, size), segment, path)
    return Subject((x1, y1, x2, y2), segment.point, mask)
