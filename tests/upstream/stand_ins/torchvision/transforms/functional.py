"""torchvision's PIL resize and array-to-PIL conversion, as far as upstream calls them."""

import numpy as np
from PIL import Image


def to_pil_image(pic: np.ndarray) -> Image.Image:
    """A PIL image from a uint8 array [H, W, 3]."""
    if pic.dtype != np.uint8 or pic.ndim != 3:
        raise TypeError(f"expected a uint8 array [H, W, C], got {pic.dtype} {pic.shape}")
    return Image.fromarray(np.ascontiguousarray(pic))


def resize(img: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resize to `size`, which is (height, width), with Pillow's antialiased bilinear filter."""
    height, width = size
    return img.resize((width, height), Image.Resampling.BILINEAR)
