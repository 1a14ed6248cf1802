"""Labels for YOLO's segmentation: a text file for each photo, a line for each object.

A line is the object's class and the outline of its mask, x and y in turn, in shares of the photo's
sides; see https://docs.ultralytics.com/datasets/segment/.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mobilesam.annotation.formats.base import Bools, LabelFormat, PhotoLabels
from mobilesam.annotation.records import PhotoFile
from mobilesam.errors import InputError
from mobilesam.sam.polygons import polygon_of


class YoloFormat(LabelFormat):
    """``photo.txt`` for ``photo.jpg``; empty for a photo without objects.

    An outline is exact: a pixel is mask exactly if its centre lies within
    (:func:`mobilesam.sam.polygons.polygon_of`).
    """

    name = "yolo"

    def require(self, photos: Sequence[PhotoFile]) -> None:
        polygon_of(np.ones((1, 1), bool))  # which says what is not installed
        seen: dict[str, PhotoFile] = {}
        for photo in photos:
            other = seen.setdefault(Path(photo.name).stem, photo)
            if other is not photo:
                raise InputError(
                    f"{other} and {photo} would have the same label file: rename one of them, or "
                    "take the format coco"
                )

    def labels(self, photo: PhotoFile, size: tuple[int, int]) -> PhotoLabels:
        return _Lines(size)

    def file(self, out: Path, photo: PhotoFile) -> Path:
        return out / f"{Path(photo.name).stem}.txt"

    def finish(self, out: Path, photos: Sequence[PhotoFile]) -> None:
        """Nothing: the label files are all there is."""


class _Lines(PhotoLabels):
    def __init__(self, size: tuple[int, int]) -> None:
        height, width = size
        self._sides = np.array([width, height], np.float64)
        self._lines: list[str] = []

    def add(self, category: int, mask: Bools, conf: float | None) -> None:
        shares = (polygon_of(mask) / self._sides).ravel().tolist()
        self._lines.append(" ".join([str(category), *(f"{share:.6g}" for share in shares)]) + "\n")

    def text(self) -> str:
        return "".join(self._lines)
