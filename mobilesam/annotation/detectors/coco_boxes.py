"""Boxes that are there already, in a COCO file: of its annotations, only ``bbox`` is read.

The format is that of https://cocodataset.org/#format-data ("Object Detection").
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ValidationError

from mobilesam.annotation.detectors.base import Detect, DetectorOptions, DetectorSource
from mobilesam.annotation.records import Category, Detections, PhotoFile
from mobilesam.errors import InputError
from mobilesam.files import sha256_of
from mobilesam.validation import first_problem, read_json


class _Image(BaseModel):
    id: int
    file_name: str
    height: int | None = None
    width: int | None = None


class _Category(BaseModel):
    id: int
    name: str


class _Annotation(BaseModel):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: bool = False


class _Boxes(BaseModel):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation]


class CocoBoxes(DetectorSource):
    """The boxes of a COCO file; what is marked as a crowd stands for many objects and is left out.

    Images are found by their names in the file, or by the last part of these.

    Args:
        path: of the file.
        options: only the classes matter, which count the file's categories from 0 on, by their ids.
        photos: of the data set.

    Raises:
        InputError: it is no such file, or has none of the photos.
    """

    def __init__(self, path: Path, options: DetectorOptions, photos: Sequence[PhotoFile]) -> None:
        self._path, self._classes = path, options.classes
        content = _read(path)
        categories = sorted(content.categories, key=lambda category: category.id)
        self.categories = tuple(Category(each.id, each.name) for each in categories)
        numbers = {each.id: number for number, each in enumerate(categories)}
        boxes: dict[int, list[tuple[float, ...]]] = defaultdict(list)
        for number, found in enumerate(content.annotations):
            if found.category_id not in numbers:
                raise InputError(
                    f"{path} does not fit together: annotations.{number} is of category "
                    f"{found.category_id}, which is not listed"
                )
            if not found.iscrowd:
                boxes[found.image_id].append((numbers[found.category_id], *found.bbox))
        self._sizes: dict[str, tuple[int | None, int | None]] = {}
        self._rows: dict[str, np.ndarray] = {}
        images = _by_name(content.images)
        for photo in photos:
            image = images.get(photo.name)
            if image is not None:
                self._sizes[photo.name] = image.height, image.width
                self._rows[photo.name] = np.array(boxes[image.id], float).reshape(-1, 5)
        if not self._rows:
            raise InputError(f"{path} has boxes of other images: none is called as a photo is")
        self.settings = {"kind": "COCO file", "sha256": sha256_of(path)}

    @contextmanager
    def open(self) -> Iterator[Detect]:
        """Nothing is loaded: all boxes are in memory, 40 bytes each."""
        yield self._detect

    def _detect(self, photo: PhotoFile, pixels: np.ndarray) -> Detections:
        if photo.name not in self._rows:
            raise InputError(f"{self._path} has no image of this name")
        size = pixels.shape[:2]
        for told, found in zip(self._sizes[photo.name], size, strict=True):
            if told not in (None, found):
                told_h, told_w = self._sizes[photo.name]
                raise InputError(
                    f"it is {size[1]} x {size[0]}, but {self._path} says {told_w} x {told_h}"
                )
        rows = self._rows[photo.name]
        corners = np.concatenate([rows[:, 1:3], rows[:, 1:3] + rows[:, 3:5]], axis=1)
        found_boxes = Detections(corners.astype(np.float32), rows[:, 0].astype(np.int64), None)
        return found_boxes.of(self._classes)


def _by_name(images: Sequence[_Image]) -> dict[str, _Image]:
    """Images by their name, and by its last part where only one has it."""
    named: dict[str, list[_Image]] = defaultdict(list)
    for image in images:
        named[Path(image.file_name).name].append(image)
    found = {name: same[0] for name, same in named.items() if len(same) == 1}
    return found | {image.file_name: image for image in images}


def _read(path: Path) -> _Boxes:
    try:
        return read_json(path, _Boxes)
    except ValidationError as error:
        place, said = first_problem(error)
        raise InputError(f"{path} is not a COCO file with boxes: {place}: {said}") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"the COCO file {path} cannot be read ({reason})") from None
