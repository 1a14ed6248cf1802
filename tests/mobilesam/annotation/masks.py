"""The masks that labels should have, asked for one by one; and masks drawn from labels."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from skimage.draw import polygon2mask

from mobilesam import Bundle
from tests.mobilesam.annotation.conftest import BOXES, SIZES

Bools = npt.NDArray[np.bool_]


def expected(bundle: str, photos: Path) -> list[list[tuple[int, Bools]]]:
    """Class and mask of every object of every photo."""
    found = []
    with Bundle(bundle).predictor(threads=1) as predictor:
        for number, (rows, (height, width)) in enumerate(zip(BOXES, SIZES, strict=True)):
            predictor.set_image(photos / f"photo{number}.png")
            objects = []
            for which, x, y, w, h in rows:
                box = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
                corners = (box * [width, height, width, height]).astype(np.float32)
                masks, _, _ = predictor.predict(box=corners, multimask_output=False)
                if masks[0].any():
                    objects.append((which, masks[0]))
            found.append(objects)
    return found


def drawn(line: str, size: tuple[int, int]) -> tuple[int, Bools]:
    """Class and mask of a line of a YOLO label file; filled where a pixel's centre lies inside."""
    which, *shares = line.split()
    height, width = size
    corners = np.array(shares, float).reshape(-1, 2) * (width, height)
    return int(which), polygon2mask(size, corners[:, ::-1] - 0.5)
