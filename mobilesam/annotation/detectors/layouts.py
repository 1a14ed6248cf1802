"""How exported YOLO detectors lay out what they find, and how that is read.

There are three layouts, of N candidates and C classes:

- ``columns``, [4 + C, N]: YOLOv8 and later. Centre, sides, then a score for each class.
- ``rows``, [N, 5 + C]: YOLOv5 and its kin. Centre, sides, the score of any object, then a score for
  each class, which is multiplied with it.
- ``final``, [N, 6]: YOLOv10 and YOLO26, and whatever was exported with ``nms=True``. Corners,
  confidence, class; nothing overlaps any more.

All are in pixels of the picture that the detector sees.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mobilesam.annotation.records import Detections, Floats
from mobilesam.errors import InputError

_STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (16, 32))
"""Of the grids of YOLO's usual models: the plain, the large, the fine, and the tiny."""

_ANCHORS = 3
"""Candidates in a cell of YOLOv5; later ones have one."""


@dataclass(frozen=True)
class Layout:
    """How an output is to be read.

    Attributes:
        kind: of the layouts above.
        classes: C; None where a final layout does not say it.
    """

    kind: Literal["columns", "rows", "final"]
    classes: int | None

    @classmethod
    def of(
        cls, shape: tuple[int, int], picture: tuple[int, int], classes: int | None
    ) -> "Layout | None":
        """The layout of an output.

        Args:
            shape: of the output for one photo.
            picture: H, W of what the detector saw.
            classes: as the file says; None where it does not.

        Returns:
            None where it is none of them.
        """
        first, last = shape
        grids = {sum(-(-picture[0] // s) * -(-picture[1] // s) for s in own) for own in _STRIDES}
        anchored = {_ANCHORS * cells for cells in grids}
        if last == 6 and not (first in anchored and classes in (None, 1)):
            return cls("final", classes)
        if classes is not None:
            if last == 5 + classes:
                return cls("rows", classes)
            return cls("columns", classes) if first == 4 + classes else None
        if last in grids and first > 4:
            return cls("columns", first - 4)
        return cls("rows", last - 5) if first in anchored and last > 5 else None

    def read(self, output: Floats, conf: float, classes: tuple[int, ...] | None) -> Detections:
        """The candidates of one photo, unsorted, in corners.

        Args:
            output: as the layout has it.
            conf: only what is surer is taken.
            classes: only these are taken; all if None.

        Raises:
            InputError: numbers that no detector of this layout gives.
        """
        if not np.isfinite(output).all():
            raise InputError("the detector gave numbers that are not finite")
        if self.kind == "final":
            sure, which, boxes = output[:, 4], output[:, 5], output[:, :4]
            if (which != which.round()).any() or (which < 0).any():
                raise InputError("the detector gave classes that are no whole numbers")
        else:
            rows = output.T if self.kind == "columns" else output
            scores = rows[:, 4:] if self.kind == "columns" else rows[:, 5:] * rows[:, 4:5]
            which = scores.argmax(1)
            sure = np.take_along_axis(scores, which[:, None], 1)[:, 0]
            centres, sides = rows[:, :2], rows[:, 2:4]
            boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)
        taken = sure > conf
        found = Detections(boxes[taken], which[taken].astype(np.int64), sure[taken])
        return found.of(classes)
