"""What every format of labels is: the text of one photo's labels, and what makes a set of them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from mobilesam.annotation.records import Category, PhotoFile

Bools = npt.NDArray[np.bool_]


class PhotoLabels(ABC):
    """The labels of one photo, as they are gathered; of a mask, only its label is kept."""

    @abstractmethod
    def add(self, category: int, mask: Bools, conf: float | None) -> None:
        """Take up an object.

        Args:
            category: index of the detector's categories.
            mask: [H, W], with at least one pixel.
            conf: how sure the detector is, if it says so.
        """

    @abstractmethod
    def text(self) -> str:
        """Of the photo's label file."""


class LabelFormat(ABC):
    """A format. It is pickled and sent to workers.

    Args:
        categories: of the detector.
    """

    name: ClassVar[str]

    def __init__(self, categories: Sequence[Category]) -> None:
        self.categories = tuple(categories)

    @abstractmethod
    def require(self, photos: Sequence[PhotoFile]) -> None:
        """Check that these photos can be labelled.

        Raises:
            InputError: two of them would have the same label file.
            MissingDependencyError: a package is not installed.
        """

    @abstractmethod
    def labels(self, photo: PhotoFile, size: tuple[int, int]) -> PhotoLabels:
        """Empty labels of a photo of H, W."""

    @abstractmethod
    def file(self, out: Path, photo: PhotoFile) -> Path:
        """Where a photo's labels are. That the file is there says that the photo is done."""

    @abstractmethod
    def finish(self, out: Path, photos: Sequence[PhotoFile]) -> None:
        """Make what is made of all labels together.

        Args:
            out: the folder of the labels.
            photos: those that have labels, in order.
        """
