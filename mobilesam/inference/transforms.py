"""Between a photo and the model's square frame: what goes in, and how masks come back.

SAM scales a photo so that its longest side is S (the image size), places it at the top-left of
an SxS frame and pads the rest with zeros *after* normalising. Prompts are scaled with it, and
mask logits take the way back: up to SxS, crop the padding, resize to the photo.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from mobilesam.errors import ImageError
from mobilesam.model.normalization import PIXEL_MEAN, PIXEL_STD

if TYPE_CHECKING:
    import torch

MASK_THRESHOLD = 0.0
"""Mask logits above it are mask."""

ChannelOrder = Literal["rgb", "bgr", "rgba"]
CHANNEL_ORDERS: tuple[ChannelOrder, ...] = ("rgb", "bgr", "rgba")
"""How a pixel lies in memory: as decoders give it, as OpenCV does, as Android's bitmaps and the
web's canvas do. The fourth value of ``rgba`` is not read."""


@dataclass(frozen=True)
class Frame:
    """How one photo lies in the model's square frame.

    `original_size` is the photo's (H, W) in pixels, `image_size` the side S of the frame.
    Raises `ImageError` when the photo is so elongated that its short side would vanish.
    """

    original_size: tuple[int, int]
    image_size: int

    def __post_init__(self) -> None:
        if min(self.original_size) < 1 or min(self.valid_size) < 1:
            height, width = self.original_size
            raise ImageError(
                f"An image of {width}x{height} pixels is too elongated: scaled to a longest side "
                f"of {self.image_size}, its short side must keep at least one pixel."
            )

    @property
    def valid_size(self) -> tuple[int, int]:
        """(h, w) of the scaled photo inside the frame, rounded as SAM does; the longest is S."""
        height, width = self.original_size
        scale = self.image_size * 1.0 / max(height, width)
        return int(height * scale + 0.5), int(width * scale + 0.5)

    def coords_to_frame(self, coords: np.ndarray) -> np.ndarray:
        """Scale x, y of shape [..., 2] from pixels of the photo to the frame, float32.

        Computed in float64 and rounded once, as SAM does.
        """
        (old_h, old_w), (new_h, new_w) = self.original_size, self.valid_size
        factors = np.array([new_w / old_w, new_h / old_h], dtype=np.float64)
        return (np.asarray(coords, dtype=np.float64) * factors).astype(np.float32)

    def boxes_to_frame(self, boxes: np.ndarray) -> np.ndarray:
        """Scale boxes x1, y1, x2, y2 of shape [..., 4] to the frame, float32."""
        corners = np.asarray(boxes, dtype=np.float64)
        shape = corners.shape
        return self.coords_to_frame(corners.reshape(*shape[:-1], 2, 2)).reshape(shape)


def resize_longest_side(image: np.ndarray, image_size: int) -> np.ndarray:
    """Resize an HxWx3 uint8 image to hxwx3 uint8 whose longest side is `image_size`.

    Bilinear with antialiasing, as Pillow does it and as SAM (torchvision on a PIL image) asks.
    """
    height, width = image.shape[:2]
    new_h, new_w = Frame((height, width), image_size).valid_size
    if (new_h, new_w) == (height, width):
        return image
    resized = Image.fromarray(image).resize((new_w, new_h), Image.Resampling.BILINEAR)
    return np.array(resized)


def pixels_input(image: np.ndarray, image_size: int) -> tuple[np.ndarray, np.ndarray]:
    """The encoder's input where the graph normalises: raw values and the size of the photo.

    Takes an HxWx3 uint8 RGB image. Returns float32 [1, 3, S, S] with values 0-255, zero where
    padded (right and bottom), and float32 [2]: height and width of the part that is image.
    """
    resized = resize_longest_side(image, image_size)
    padded = _pad(resized.astype(np.float32), image_size)
    return padded, np.array(resized.shape[:2], dtype=np.float32)


def normalized_input(image: np.ndarray, image_size: int) -> np.ndarray:
    """The encoder's input where the host normalises: (x - mean) / std, then zero padding.

    Takes an HxWx3 uint8 RGB image, returns float32 [1, 3, S, S].
    """
    resized = resize_longest_side(image, image_size).astype(np.float32)
    mean = np.array(PIXEL_MEAN, dtype=np.float32)
    std = np.array(PIXEL_STD, dtype=np.float32)
    return _pad((resized - mean) / std, image_size)


def uint8_input(
    image: np.ndarray, image_size: int, order: ChannelOrder
) -> tuple[np.ndarray, np.ndarray]:
    """The encoder's input where the graph takes pixels as they lie in an app's memory.

    Takes an HxWx3 uint8 RGB image. Returns uint8 [1, S, S, C], C = 3 or 4 values a pixel in the
    order, and float32 [2]: height and width of the part that is image. What must not matter is not
    left at the value that is easiest to get right: the padding is white, the fourth value varies.
    """
    resized = resize_longest_side(image, image_size)
    height, width = resized.shape[:2]
    frame = np.full((1, image_size, image_size, len(order)), 255, np.uint8)
    frame[0, :height, :width] = in_order(resized, order)
    return frame, np.array((height, width), dtype=np.float32)


def in_order(image: np.ndarray, order: ChannelOrder) -> np.ndarray:
    """HxWx3 uint8 RGB to HxWxC in a channel order; a fourth value, which is not read, varies."""
    channels = [
        image[..., "rgb".index(channel)] if channel in "rgb" else 255 - image[..., 0]
        for channel in order
    ]
    return np.stack(channels, axis=-1)


def upscale_logits(low_res: "torch.Tensor", frame: Frame) -> "torch.Tensor":
    """Bring mask logits [B, C, S/4, S/4] to the photo: [B, C, H, W]. A mask is where they are > 0.

    Bilinear (align_corners=False) to SxS, crop to the valid size, bilinear to the original size.
    """
    # Imported here so that a process that only prepares images and prompts does without torch.
    import torch.nn.functional as F

    size = (frame.image_size, frame.image_size)
    full = F.interpolate(low_res, size, mode="bilinear", align_corners=False)
    valid_h, valid_w = frame.valid_size
    valid = full[..., :valid_h, :valid_w]
    return F.interpolate(valid, frame.original_size, mode="bilinear", align_corners=False)


def _pad(image: np.ndarray, image_size: int) -> np.ndarray:
    """Place a float32 hxwx3 image top-left in zeros: float32 [1, 3, S, S]."""
    height, width = image.shape[:2]
    frame = np.zeros((1, 3, image_size, image_size), dtype=np.float32)
    frame[0, :, :height, :width] = image.transpose(2, 0, 1)
    return frame
