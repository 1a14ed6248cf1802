"""What passes from hand to hand while photos are annotated."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


class PhotoFile(NamedTuple):
    """A photo of the data set.

    Attributes:
        name: of the file, within the data set's folder.
        path: of the file.
    """

    name: str
    path: str

    def __str__(self) -> str:
        return f"'{self.name}'"


class Category(NamedTuple):
    """A kind of object.

    Attributes:
        id: its number in COCO files.
        name: what people call it.
    """

    id: int
    name: str


@dataclass(frozen=True)
class Detections:
    """Objects that were found in a photo, the surest first.

    Attributes:
        boxes: [N, 4] x1, y1, x2, y2 in pixels of the photo.
        classes: [N], indices of the detector's categories.
        conf: [N], 0 to 1; None where nobody says how sure it is.
    """

    boxes: Floats
    classes: Integers
    conf: Floats | None

    def of(self, classes: tuple[int, ...] | None) -> "Detections":
        """Those of some classes; all of them if None."""
        if classes is None:
            return self
        kept = np.isin(self.classes, classes)
        conf = None if self.conf is None else self.conf[kept]
        return Detections(self.boxes[kept], self.classes[kept], conf)


class Labelled(NamedTuple):
    """A photo's labels.

    Attributes:
        text: of the photo's label file.
        objects: how many it has.
        empty: detections that have no label, since nothing of their box lies in the photo, or
            their mask has no pixel.
    """

    text: str
    objects: int
    empty: int


class LeftOut(NamedTuple):
    """A photo that could not be annotated.

    Attributes:
        name: of the photo's file.
        reason: in one sentence, without a full stop.
    """

    name: str
    reason: str
