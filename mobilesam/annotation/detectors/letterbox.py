"""A photo fitted into a detector's picture without being distorted, and boxes taken back.

The arithmetic is that of Ultralytics, by which their exports were trained: bilinear without
smoothing, the photo in the middle, gray around it.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import interpolate

from mobilesam.annotation.records import Floats

GRAY = 114
"""What lies beside the photo, 0 to 255 in each channel."""


@dataclass(frozen=True)
class Letterbox:
    """How one photo lies in the picture.

    Attributes:
        photo: H, W of the photo in pixels.
        scaled: h, w of the photo within the picture.
        picture: H, W of the picture.
        corner: y, x of the photo's top-left corner in the picture.
        scale: pixels of the picture to one of the photo.
    """

    photo: tuple[int, int]
    scaled: tuple[int, int]
    picture: tuple[int, int]
    corner: tuple[int, int]
    scale: float

    @classmethod
    def fit(cls, photo: tuple[int, int], frame: tuple[int, int], stride: int | None) -> "Letterbox":
        """Fit a photo into a frame of H, W.

        Args:
            photo: H, W.
            frame: H, W.
            stride: where the detector takes pictures of other sizes too, what their sides are
                multiples of: the picture is then as small as the photo allows.
        """
        scale = min(frame[0] / photo[0], frame[1] / photo[1])
        scaled = max(1, round(photo[0] * scale)), max(1, round(photo[1] * scale))
        margins = [whole - part for whole, part in zip(frame, scaled, strict=True)]
        if stride is not None:
            margins = [margin % stride for margin in margins]
        # Of an odd margin, the larger part comes after the photo.
        before = [round(margin / 2 - 0.1) for margin in margins]
        sides = [part + margin for part, margin in zip(scaled, margins, strict=True)]
        return cls(photo, scaled, (sides[0], sides[1]), (before[0], before[1]), scale)

    def picture_of(self, pixels: np.ndarray) -> Floats:
        """The picture, [3, H, W] from 0 to 1, of the photo's pixels HxWx3 uint8, RGB."""
        picture = np.full((3, *self.picture), GRAY / 255, np.float32)
        (top, left), (height, width) = self.corner, self.scaled
        for channel in range(3):  # one after the other: a large photo in floats takes much memory
            values = torch.from_numpy(pixels[..., channel].astype(np.float32))[None, None]
            if self.scaled != self.photo:
                values = interpolate(values, self.scaled, mode="bilinear", align_corners=False)
            levels = values[0, 0].round() / 255
            picture[channel, top : top + height, left : left + width] = levels.numpy()
        return picture

    def to_photo(self, boxes: Floats) -> Floats:
        """Boxes [N, 4], x1, y1, x2, y2 in pixels of the picture, in pixels of the photo."""
        top, left = self.corner
        height, width = self.photo
        before = np.array([left, top, left, top], np.float32)
        sides = np.array([width, height, width, height], np.float32)
        moved: Floats = ((boxes - before) / np.float32(self.scale)).clip(0, sides)
        return moved
