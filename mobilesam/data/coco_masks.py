"""Masks of a COCO instances file, decoded one at a time when they are needed.

The format is that of https://cocodataset.org/#format-data ("Object Detection"): polygons, or
run lengths that are compressed or not. Crowd regions (``iscrowd``) are left out, since they stand
for many objects at once.
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ValidationError

from mobilesam.errors import InputError, MissingDependencyError
from mobilesam.validation import first_problem, read_json

Bools = npt.NDArray[np.bool_]

MIN_COORDINATES = 6
"""Of a polygon, x and y of three corners; pycocotools would take four numbers for a box."""


class RunLengths(BaseModel):
    """A mask as run lengths, column by column; compressed ones are a string."""

    size: tuple[int, int]
    counts: str | list[int]


Segmentation = list[list[float]] | RunLengths


class _Image(BaseModel):
    id: int
    file_name: str
    height: int
    width: int


class _Category(BaseModel):
    id: int
    name: str


class _Annotation(BaseModel):
    image_id: int
    category_id: int
    segmentation: Segmentation
    area: float
    iscrowd: bool = False


class _Instances(BaseModel):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation]


@dataclass(frozen=True)
class CocoObject:
    """One object of an image.

    Attributes:
        category: its category's name.
        area: pixels, as the file says.
        size: H, W of the image.
        segmentation: polygons in pixels, or run lengths.
    """

    category: str
    area: float
    size: tuple[int, int]
    segmentation: Segmentation

    def mask(self) -> Bools:
        """Decode the mask, [H, W] bool.

        Raises:
            InputError: run lengths that do not make a mask of the image's size.
            MissingDependencyError: pycocotools is not installed.
        """
        height, width = self.size
        if isinstance(self.segmentation, RunLengths):
            if self.segmentation.size != self.size:
                wrong_h, wrong_w = self.segmentation.size
                raise InputError(
                    f"a {self.category}'s run lengths are of {wrong_w} x {wrong_h} pixels, but its "
                    f"image is {width} x {height}"
                )
            return self._of_runs(self.segmentation.counts)
        coco = _pycocotools()
        polygons = coco.merge(coco.frPyObjects(self.segmentation, height, width))
        mask: Bools = coco.decode(polygons).astype(bool)
        return mask

    def _of_runs(self, counts: str | list[int]) -> Bools:
        # Not by pycocotools, which fills up runs that are too short with whatever is in memory.
        runs = _uncompressed(counts) if isinstance(counts, str) else counts
        height, width = self.size
        if any(run < 0 for run in runs) or sum(runs) != height * width:
            raise InputError(
                f"a {self.category}'s run lengths do not add up to {width} x {height} pixels"
            )
        return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


@dataclass(frozen=True)
class CocoImage:
    """One image with its objects.

    Attributes:
        file: its name, relative to the folder of images.
        size: H, W in pixels.
        objects: in the file's order, without crowd regions.
    """

    file: str
    size: tuple[int, int]
    objects: tuple[CocoObject, ...]

    def require_size(self, path: Path, size: tuple[int, int]) -> None:
        """Raises InputError: the image read from ``path`` is not H, W as the file says."""
        if size != self.size:
            (height, width), (told_h, told_w) = size, self.size
            raise InputError(
                f"{path} is {width} x {height}, but the COCO file says {told_w} x {told_h}"
            )


def read_coco(path: Path) -> list[CocoImage]:
    """Images of a COCO instances file, in its order, with or without objects in them.

    Polygons of fewer than three corners are dropped, and objects of which nothing is left.

    Raises:
        InputError: the file is not there, is no COCO instances file, or refers to an image or
            category that it does not have.
        MissingDependencyError: pycocotools is not installed.
    """
    _pycocotools()
    try:
        instances = read_json(path, _Instances)
    except ValidationError as error:
        place, said = first_problem(error)
        raise InputError(f"{path} is not a COCO instances file: {place}: {said}") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"the COCO file {path} cannot be read ({reason})") from None
    categories = {category.id: category.name for category in instances.categories}
    sizes = {image.id: (image.height, image.width) for image in instances.images}
    objects: dict[int, list[CocoObject]] = defaultdict(list)
    for number, found in enumerate(instances.annotations):
        for what, wanted, known in (
            ("image", found.image_id, sizes),
            ("category", found.category_id, categories),
        ):
            if wanted not in known:
                raise InputError(
                    f"{path} does not fit together: annotations.{number} is of {what} {wanted}, "
                    "which is not listed"
                )
        segmentation = _usable(found.segmentation)
        if segmentation and not found.iscrowd:
            name, size = categories[found.category_id], sizes[found.image_id]
            objects[found.image_id].append(CocoObject(name, found.area, size, segmentation))
    return [
        CocoImage(image.file_name, sizes[image.id], tuple(objects[image.id]))
        for image in instances.images
    ]


def _usable(segmentation: Segmentation) -> Segmentation | None:
    if isinstance(segmentation, RunLengths):
        return segmentation
    polygons = [p for p in segmentation if len(p) >= MIN_COORDINATES and len(p) % 2 == 0]
    return polygons or None


def _uncompressed(text: str) -> list[int]:
    """Run lengths from COCO's string of them.

    Five bits a character, lowest first, from '0' on; the sixth bit says that more follow, and the
    highest of the last five is the sign. From the fourth on, a number is the difference from the
    one before the last.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - ord("0")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    return runs


def _pycocotools() -> ModuleType:
    try:
        from pycocotools import mask
    except ImportError:
        raise MissingDependencyError(
            'COCO files need pycocotools: pip install "mobilesam-export[report]" (or [train])'
        ) from None
    module: ModuleType = mask
    return module
