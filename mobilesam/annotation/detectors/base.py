"""What every source of boxes is: known by its settings, opened where photos are looked at."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from mobilesam.annotation.records import Category, Detections, PhotoFile
from mobilesam.errors import InputError

Detect = Callable[[PhotoFile, np.ndarray], Detections]
"""Finds the objects of a photo, of which it is given the pixels too, HxWx3 uint8 in RGB.

It raises InputError where there is something wrong with what belongs to this photo.
"""


@dataclass(frozen=True)
class DetectorOptions:
    """What a detector is asked for, as Ultralytics names it.

    Attributes:
        conf: lowest confidence; only what is above it counts.
        iou: of two boxes of a class with a greater IoU, the surer one is kept.
        imgsz: longest side of the picture that the detector sees, in pixels, where it has a choice.
        max_det: most objects in a photo.
        classes: the only ones that are wanted; all if None.
        device: where it computes; empty for its own choice.

    Raises:
        InputError: a value that cannot be used.
    """

    conf: float = 0.25
    iou: float = 0.45
    imgsz: int = 640
    max_det: int = 300
    classes: tuple[int, ...] | None = None
    device: str = ""

    def __post_init__(self) -> None:
        for name in ("conf", "iou"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise InputError(f"{name} must be from 0 to 1, not {value:g}")
        for name, least in (("imgsz", 32), ("max_det", 1)):
            value = getattr(self, name)
            if value < least:
                raise InputError(f"{name} must be at least {least}, not {value}")
        if self.classes is not None and not self.classes:
            raise InputError("classes is empty: name at least one, or leave it out for all")


class DetectorSource(ABC):
    """A detector, or boxes that are there already. It is pickled and sent to workers.

    Attributes:
        categories: a class is an index of them.
        settings: what other sources are told by from this one, for the run's record.
    """

    categories: tuple[Category, ...]
    settings: dict[str, Any]

    @abstractmethod
    def open(self) -> AbstractContextManager[Detect]:
        """Load it."""

    def require_classes(self, classes: Sequence[int] | None) -> None:
        """Raises InputError: there is no such class."""
        count = len(self.categories)
        for wanted in classes or ():
            if not 0 <= wanted < count:
                last = self.categories[-1].name if count else ""
                has = f"classes 0 to {count - 1} ('{last}')" if count else "no classes"
                raise InputError(f"there is no class {wanted}: the detector has {has}")
