"""The photos that a call is about: a path, a folder, a PIL image, an array, or a list of them."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from PIL import Image

from mobilesam.data.image_files import image_files
from mobilesam.errors import ImageError, InputError
from mobilesam.inference.images import ImageSource, load_image

ChannelOrder = Literal["bgr", "rgb"]
"""Of the colours in an array: OpenCV's, or that of most other libraries."""

Source = ImageSource | Sequence[ImageSource]


class Photo(NamedTuple):
    """One photo.

    Attributes:
        pixels: HxWx3 uint8, RGB.
        path: of its file; ``image0.jpg``, ``image1.jpg``, … for what is no file.
    """

    pixels: np.ndarray
    path: str


def require_order(channel_order: str) -> None:
    """Raises InputError: neither 'bgr' nor 'rgb'."""
    if channel_order not in get_args(ChannelOrder):
        raise InputError(f"channel_order must be 'bgr' or 'rgb', not {channel_order!r}")


def listed(source: Source) -> list[ImageSource]:
    """The images that a source stands for, none of them read yet.

    Of a folder, the files in it that are images, sorted by name; what else lies there is logged.

    Raises:
        InputError: a folder or list without images, or an address.
        ImageError: a file that is not there, or what is no image at all.
    """
    if isinstance(source, list | tuple):
        if not source:
            raise InputError("the list of images is empty: give at least one")
        images = list(source)
    elif isinstance(source, str | os.PathLike) and Path(source).is_dir():
        return list(image_files(Path(source), readable=True))
    else:
        images = [source]
    for image in images:
        if isinstance(image, str) and re.match(r"\w+://", image):
            raise InputError(f"'{image}' is an address: download the image and give its path")
        if not isinstance(image, Image.Image | np.ndarray) and not _is_file(image):
            load_image(image)  # which says what is wrong
    return images


def photos(images: Sequence[ImageSource], channel_order: ChannelOrder) -> Iterator[Photo]:
    """Read images, one when it is asked for.

    Args:
        images: as :func:`listed` gives them.
        channel_order: of those that are arrays.

    Raises:
        ImageError: one cannot be read or used.
    """
    for number, image in enumerate(images):
        name = getattr(image, "filename", "")  # of a PIL image that was read from a file
        if isinstance(image, str | os.PathLike):
            name = os.fspath(image)
        pixels = (
            _array(image, channel_order) if isinstance(image, np.ndarray) else load_image(image)
        )
        yield Photo(pixels, str(name) or f"image{number}.jpg")


def _array(array: np.ndarray, channel_order: ChannelOrder) -> np.ndarray:
    """The pixels of an array in RGB, a copy: whoever gave it may write other pixels into it."""
    try:
        pixels = in_order(load_image(array), channel_order)
    except ImageError as error:
        raise ImageError(str(error).replace("RGB", channel_order.upper())) from None
    return pixels.copy() if np.may_share_memory(pixels, array) else pixels


def in_order(pixels: np.ndarray, channel_order: ChannelOrder) -> np.ndarray:
    """RGB pixels HxWx3 in another order of colours, or such an array in RGB."""
    return pixels if channel_order == "rgb" else np.ascontiguousarray(pixels[..., ::-1])


def _is_file(image: Any) -> bool:
    return isinstance(image, str | os.PathLike) and Path(image).is_file()
