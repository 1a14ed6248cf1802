"""Photos with masks: a folder of images, label images, and a ``manifest.json`` that describes them.

In a label image every pixel holds the label of the segment it belongs to, 0 for none. Segments
that lie nearer are painted over those behind them, so a hidden part is missing from a mask.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import BaseModel, Field, ValidationError

from mobilesam.data.mask_geometry import deepest, tight_box
from mobilesam.errors import InputError
from mobilesam.validation import first_problem, read_json

MANIFEST = "manifest.json"
MIN_AREA = 1024
"""Pixels; smaller segments are too coarse to score."""
MIN_SHOWN = 0.95
"""Share of a segment's pixels that no nearer segment hides."""

Bools = npt.NDArray[np.bool_]


class Segment(BaseModel):
    """One mask: pixels of value ``label`` in the label image.

    Attributes:
        label: 1 or more.
        category: what it is, in words.
        thing: countable, rather than "stuff" such as sky.
        area: pixels in the label image.
        full_area: pixels before nearer segments were painted over them.
        bbox: x, y, width, height in pixels.
        point: x, y of a pixel deep inside.
    """

    label: Annotated[int, Field(ge=1)]
    category: str
    thing: bool
    area: int
    full_area: int
    bbox: tuple[float, float, float, float]
    point: tuple[float, float]

    @classmethod
    def of(cls, mask: Bools, label: int, category: str, *, full_area: int) -> "Segment":
        """Describe a countable thing.

        Args:
            mask: [H, W] bool with at least one pixel: what nearer segments leave of it.
            label, category, full_area: as of the attributes.

        Raises:
            MissingDependencyError: SciPy is not installed.
        """
        left, top, right, bottom = tight_box(mask)
        x, y, _ = deepest(mask)
        return cls(
            label=label,
            category=category,
            thing=True,
            area=int(np.count_nonzero(mask)),
            full_area=full_area,
            bbox=(left, top, right - left, bottom - top),
            point=(x, y),
        )

    @property
    def is_good(self) -> bool:
        """A countable thing, large enough, and not hidden behind others."""
        whole = self.area >= MIN_SHOWN * self.full_area
        return self.thing and self.area >= MIN_AREA and whole

    @property
    def box(self) -> tuple[float, float, float, float]:
        """``bbox`` as x1, y1, x2, y2."""
        x, y, width, height = self.bbox
        return x, y, x + width, y + height


class ImageEntry(BaseModel):
    """One image of a manifest.

    Attributes:
        file: path of the image, relative to the manifest's folder.
        mask: path of its label image, or None where there is none.
        sequence: the film that it is a frame of; frames of one film are alike.
    """

    file: str
    mask: str | None = None
    sequence: str | None = None
    segments: list[Segment] = []


class ImageManifest(BaseModel):
    """What ``manifest.json`` of an image folder says; other keys are ignored."""

    images: list[ImageEntry]


def read_manifest(folder: Path, *, require_files: bool = True) -> ImageManifest:
    """The manifest of a folder of images with masks.

    Args:
        folder: that holds ``manifest.json``.
        require_files: check that every image and label image is there.

    Raises:
        InputError: the folder has no manifest, or one that is malformed, lists no images, or lists
            an image or label image that is not there.
    """
    path = folder / MANIFEST
    try:
        manifest = read_json(path, ImageManifest)
    except ValidationError as error:
        place, said = first_problem(error)
        raise InputError(f"{path} does not describe images: {place}: {said}") from None
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{folder} has no {MANIFEST} that describes images and masks") from None
    if not manifest.images:
        raise InputError(f"{path} lists no images")
    for entry in manifest.images if require_files else ():
        for name in (entry.file, entry.mask):
            if name is not None and not (folder / name).is_file():
                raise InputError(f"{path} lists '{name}', which is not there")
    return manifest


def read_labels(path: Path, size: tuple[int, int]) -> npt.NDArray[np.integer]:
    """A label image, [H, W] integers.

    Args:
        path: of the label image; grey or palette, 8 or 16 bits.
        size: H, W that it must have: its image's.

    Raises:
        InputError: it cannot be read, has colours instead of labels, or is of another size.
    """
    try:
        with Image.open(path) as image:
            labels: npt.NDArray[np.integer] = np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"the mask {path} cannot be read ({error})") from None
    if labels.ndim != 2:
        raise InputError(f"the mask {path} has colours: one channel of labels is needed")
    if labels.shape != size:
        raise InputError(
            f"the mask {path} is {labels.shape[1]} x {labels.shape[0]}, but its image is "
            f"{size[1]} x {size[0]}"
        )
    return labels


def segment_mask(labels: npt.NDArray[np.integer], segment: Segment, path: Path) -> Bools:
    """Where a label image has a segment, [H, W] bool.

    Args:
        labels: as :func:`read_labels` gives them.
        segment: as in the manifest.
        path: of the label image, for the error.

    Raises:
        InputError: no pixel has the segment's label, or the one its ``point`` names does not.
    """
    mask: Bools = labels == segment.label
    if not mask.any():
        raise InputError(f"the mask {path} has no pixel of label {segment.label}")
    height, width = mask.shape
    x, y = segment.point
    if not (0 <= x < width and 0 <= y < height and mask[int(y), int(x)]):
        raise InputError(
            f"the mask {path} does not have label {segment.label} at the point ({x:g}, {y:g}) "
            "that the manifest gives it: a point is x, y"
        )
    return mask
