"""Boxes that are there already, in YOLO's label files: a text file for each photo.

A line is an object: its class, then the box as centre x, centre y, width and height, in shares of
the photo's sides, and a confidence where one was written. A line of more numbers is an outline, and
its box is taken. The format is described at https://docs.ultralytics.com/datasets/detect/ and
https://docs.ultralytics.com/datasets/segment/.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from mobilesam.annotation.detectors.base import Detect, DetectorOptions, DetectorSource
from mobilesam.annotation.records import Category, Detections, PhotoFile
from mobilesam.errors import InputError

NAMES_FILE = "classes.txt"
"""Names of the classes, one a line, as LabelImg and Label Studio write them beside the labels."""

_LAST_CLASS = 99_999
_SLACK = 1e-3  # how far over the edge of a photo rounding puts a box


class YoloBoxes(DetectorSource):
    """A folder of label files, named as the photos but for the ending.

    A photo without a file has no objects, as YOLO has it.

    Args:
        folder: of the files.
        options: only the classes matter.
        photos: of the data set.

    Raises:
        InputError: there is no file for any photo, or one cannot be read.
    """

    def __init__(self, folder: Path, options: DetectorOptions, photos: Sequence[PhotoFile]) -> None:
        self._folder, self._classes = folder, options.classes
        digest, highest, found = hashlib.sha256(), -1, 0
        for photo in photos:
            text = self._text(photo)
            if text is not None:
                found += 1
                digest.update(f"{photo.name}\0{len(text)}\0{text}".encode())
                highest = max([highest, *_class_numbers(text)])
        if not found:
            raise InputError(
                f"no file in '{folder}' has labels of a photo: they are named as the photos, such "
                f"as '{Path(photos[0].name).stem}.txt'"
            )
        names = self._names()
        if names and highest >= len(names):
            raise InputError(
                f"the labels in '{folder}' have a class {highest}, but its {NAMES_FILE} names "
                f"{len(names)}, from 0 on"
            )
        names = names or [str(number) for number in range(highest + 1)]
        self.categories = tuple(Category(n + 1, name) for n, name in enumerate(names))
        self.settings = {"kind": "YOLO label files", "sha256": digest.hexdigest()}

    @contextmanager
    def open(self) -> Iterator[Detect]:
        """Nothing is loaded: a photo's file is read when it is asked for."""
        yield self._detect

    def _detect(self, photo: PhotoFile, pixels: np.ndarray) -> Detections:
        height, width = pixels.shape[:2]
        return read_boxes(self._text(photo) or "", self._file(photo), (height, width)).of(
            self._classes
        )

    def _file(self, photo: PhotoFile) -> Path:
        return self._folder / Path(photo.name).with_suffix(".txt")

    def _text(self, photo: PhotoFile) -> str | None:
        file = self._file(photo)
        if file.name == NAMES_FILE:
            return None
        return _read(file)

    def _names(self) -> list[str]:
        text = _read(self._folder / NAMES_FILE) or ""
        return [name.strip() for name in text.strip().splitlines()]


def read_boxes(text: str, file: Path, size: tuple[int, int]) -> Detections:
    """The boxes of a label file.

    Args:
        text: what it says.
        file: where it says so.
        size: H, W of the photo in pixels.

    Raises:
        InputError: a line that is none of a label file.
    """
    boxes, classes = [], []
    for number, line in enumerate(text.splitlines(), 1):
        values = line.split()
        if not values:
            continue
        where = f"line {number} of '{file}'"
        try:
            which, *shares = (float(value) for value in values)
        except ValueError:
            raise InputError(f"{where} has something that is no number: '{line.strip()}'") from None
        if len(shares) >= 5 and len(shares) % 2:
            shares.pop()  # a confidence
        if len(shares) < 4 or len(shares) % 2:
            raise InputError(
                f"{where} has {len(values)} numbers: a class, then a box of four or an outline of "
                "at least three corners"
            )
        if not 0 <= which <= _LAST_CLASS or which % 1:
            raise InputError(
                f"{where} has the class {which:g}: classes are whole, from 0 to {_LAST_CLASS}"
            )
        box = _box(np.array(shares))
        if not (np.isfinite(box).all() and -_SLACK <= box.min() and box.max() <= 1 + _SLACK):
            raise InputError(f"{where} has a box outside the photo: it must be in shares, 0 to 1")
        boxes.append(box)
        classes.append(int(which))
    height, width = size
    corners = np.array(boxes).reshape(-1, 4).clip(0, 1) * (width, height, width, height)
    return Detections(corners.astype(np.float32), np.array(classes, np.int64), None)


def _box(shares: np.ndarray) -> np.ndarray:
    """x1, y1, x2, y2 of a box as YOLO has it, or around an outline."""
    if len(shares) == 4:
        centre, sides = shares[:2], shares[2:]
        return np.concatenate([centre - sides / 2, centre + sides / 2])
    corners = shares.reshape(-1, 2)
    return np.concatenate([corners.min(0), corners.max(0)])


def _class_numbers(text: str) -> Iterator[int]:
    """The classes of a label file; lines that are wrong are told of when their photo's turn is."""
    for line in text.splitlines():
        first = line.split(maxsplit=1)[:1]
        if first and first[0].isdecimal() and float(first[0]) <= _LAST_CLASS:
            yield int(first[0])


def _read(file: Path) -> str | None:
    """What a file says; None where there is none."""
    try:
        return file.read_text("utf-8-sig")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the label file '{file}' cannot be read ({error})") from None
