"""Reading a photo, whatever it is stored as, into the one form the model takes: uint8 RGB.

What happens to each kind of image:

- EXIF orientation is applied, to files and to PIL images that still carry the tag.
- Grayscale and 1-bit images are repeated over the three channels.
- Transparency (RGBA, LA, palette with transparency) is dropped, not composited: the colour
  stored under a transparent pixel is used, as ``Image.convert("RGB")`` does.
- CMYK, YCbCr, HSV and palette images go through Pillow's own conversion; colour profiles are
  not applied.
- 16-bit grayscale is scaled from 0-65535 to 0-255. 32-bit integer and float images are scaled
  by the smallest of the usual ranges that holds them (see `_eight_bit`).
- Of an animation or a multi-page file, the first frame is taken.
"""

import os
import re
import warnings
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mobilesam.errors import ImageError

MAX_PIXELS_VARIABLE = "MOBILESAM_MAX_PIXELS"
"""Environment variable with the most pixels that a photo may have; processes inherit it."""

HEIF_SUFFIXES = (".heic", ".heif", ".hif")
"""Of photos as iPhones take them, which Pillow reads with pillow-heif alone."""

_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")

MIN_SIDE = 2
"""The smallest side in pixels: below it, there is nothing to segment."""

STRIP = 12
"""How many times as long as it is wide a strip is."""

ImageSource = str | os.PathLike[str] | Image.Image | np.ndarray
"""What `load_image` accepts."""


def allow_pixels(count: int) -> None:
    """Let photos have so many pixels, here and in processes started from here."""
    os.environ[MAX_PIXELS_VARIABLE] = str(count)
    Image.MAX_IMAGE_PIXELS = count


def reads_heif() -> bool:
    """Whether HEIC photos can be read: pillow-heif is installed, and is registered with Pillow."""
    if find_spec("pillow_heif") is None:
        return False
    import_module("pillow_heif").register_heif_opener()  # again is harmless
    return True


def load_image(source: ImageSource) -> np.ndarray:
    """Read an image as a contiguous HxWx3 uint8 array, RGB, 0-255, upright.

    `source` is a path, a PIL image, or a uint8 array of shape HxWx3 (RGB), HxW, HxWx1 or HxWx4
    (RGBA, alpha dropped). A returned array may share memory with an array given.

    Raises `ImageError` for a file that is missing, a directory, empty, truncated or not an image;
    for a HEIC photo without pillow-heif; for more pixels than ``MOBILESAM_MAX_PIXELS`` or
    ``PIL.Image.MAX_IMAGE_PIXELS`` (89,478,485 unless changed; a decompression bomb); for a side
    under 2 pixels; and for an array of another dtype or shape.
    """
    if isinstance(source, np.ndarray):
        pixels = _from_array(source)
        name = "the array"
    elif isinstance(source, Image.Image):
        name = "the PIL image"
        pixels = _decode(source, name)
    elif isinstance(source, (str, os.PathLike)):
        name = f"'{os.fspath(source)}'"
        pixels = _from_file(Path(source), name)
    else:
        raise ImageError(
            f"An image must be a path, a PIL image or a uint8 NumPy array (HxWx3, RGB), "
            f"not {type(source).__module__}.{type(source).__qualname__}."
        )
    height, width = pixels.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise ImageError(
            f"{name[0].upper()}{name[1:]} is {width}x{height} pixels; "
            f"each side must be at least {MIN_SIDE} pixels."
        )
    return np.ascontiguousarray(pixels)


def load_cutout(path: Path) -> np.ndarray:
    """Read an image file as HxWx4 uint8: upright RGB as of `load_image`, then alpha.

    Raises `ImageError` as `load_image` does for a file, but for its smallest side.
    """
    return _from_file(path, f"'{path}'", mode="RGBA")


def middle_strip(pixels: np.ndarray, axis: int) -> np.ndarray:
    """A strip from the middle of an image, nearly all of whose frame is padding.

    Args:
        pixels: HxWx3.
        axis: the side that is cut: 0 makes a wide strip, 1 a tall one.
    """
    side = pixels.shape[axis]
    width = min(side, max(MIN_SIDE, round(pixels.shape[1 - axis] / STRIP)))
    start = (side - width) // 2
    return np.take(pixels, range(start, start + width), axis)


def cut_to_shape(
    size: tuple[int, int], shape: tuple[int, int], centre: tuple[float, float]
) -> tuple[int, int, int, int]:
    """The largest part of an image that has the shape of another.

    Args:
        size: H, W of the image.
        shape: H, W that the part is to be in proportion to.
        centre: x, y that should lie in the part's middle, as far as the image reaches.

    Returns:
        Left, top, right and bottom in pixels, the last two just outside.
    """
    (height, width), (rows, columns) = size, shape
    part_h = max(1, min(height, round(width * rows / columns)))
    part_w = max(1, min(width, round(height * columns / rows)))
    left = min(max(0, round(centre[0] - part_w / 2)), width - part_w)
    top = min(max(0, round(centre[1] - part_h / 2)), height - part_h)
    return left, top, left + part_w, top + part_h


def fitted(
    pixels: np.ndarray, shape: tuple[int, int], centre: tuple[float, float] | None = None
) -> np.ndarray:
    """An HxWx3 uint8 image as a camera with frames of another size would have taken it.

    Args:
        pixels: the image.
        shape: H, W of the frames.
        centre: as of :func:`cut_to_shape`; None: the image's.
    """
    size = pixels.shape[0], pixels.shape[1]
    middle = (size[1] / 2, size[0] / 2) if centre is None else centre
    part = Image.fromarray(pixels).crop(cut_to_shape(size, shape, middle))
    return np.array(part.resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


def _from_file(path: Path, name: str, mode: str = "RGB") -> np.ndarray:
    """The pixels of an image file, refusing first what is not a readable, non-empty file."""
    if path.is_dir():
        raise ImageError(f"{name} is a directory; give the path of one image file.")
    if not path.exists():
        raise ImageError(f"There is no image file at {name}; check the path.")
    if not path.is_file():
        raise ImageError(f"{name} is a device or a pipe; give the path of one image file.")
    try:
        if path.stat().st_size == 0:
            raise ImageError(
                f"The image file {name} is empty (0 bytes); give a JPEG, PNG or other image."
            )
        if _is_heif(path) and not reads_heif():
            raise ImageError(
                f"{name} is a HEIC photo, which needs pillow-heif: "
                f'pip install "mobilesam-export[heif]", or convert it to JPEG.'
            )
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return _decode(image, name, mode)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise _bomb(name, error) from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name} is not an image in a format that Pillow can read (JPEG, PNG, WebP, TIFF, ...)."
        ) from error
    except PermissionError as error:
        raise ImageError(f"The image file {name} may not be read: permission denied.") from error
    except ImageError:
        raise
    except Exception as error:  # a parser may fail in any way on a damaged header
        raise _damaged(name, error) from error


def _is_heif(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(12)
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS


def _decode(image: Image.Image, name: str, mode: str = "RGB") -> np.ndarray:
    """Decode, turn upright and convert a PIL image to HxWx3 uint8 RGB, or HxWx4 RGBA."""
    try:
        image.load()
        upright = ImageOps.exif_transpose(image)
        if mode == "RGB" and (upright.mode.startswith("I") or upright.mode == "F"):
            gray = _eight_bit(np.asarray(upright), upright.mode, name)
            return np.repeat(gray[..., None], 3, axis=2)
        if upright.mode in ("P", "PA"):
            # By way of RGBA: Pillow warns about transparency given in bytes otherwise.
            upright = upright.convert("RGBA")
        return np.asarray(upright.convert(mode))
    except ImageError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise _bomb(name, error) from error
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, EOFError, ...
        raise _damaged(name, error) from error


def _eight_bit(values: np.ndarray, mode: str, name: str) -> np.ndarray:
    """Scale the HxW values of a high-depth grayscale image to uint8.

    16-bit modes (``I;16...``) use the fixed range 0-65535. Modes ``I`` and ``F`` do not say
    their range, so the smallest of 0-1 (``F`` only), 0-255 and 0-65535 that holds every value
    is taken, and the image's own minimum and maximum where none does.
    """
    wide = values.astype(np.float64)
    if not np.isfinite(wide).all():
        raise ImageError(f"{name} holds NaN or infinite pixel values; they must all be finite.")
    low, high = 0.0, 65535.0
    if not mode.startswith("I;16"):
        lowest, highest = float(wide.min()), float(wide.max())
        ranges = [1.0, 255.0, 65535.0] if mode == "F" else [255.0, 65535.0]
        fitting = [top for top in ranges if lowest >= 0 and highest <= top]
        low, high = (0.0, fitting[0]) if fitting else (lowest, highest)
    span = high - low if high > low else 1.0
    return np.floor((wide - low) * (255.0 / span) + 0.5).astype(np.uint8)


def _from_array(array: np.ndarray) -> np.ndarray:
    """An HxWx3 view or copy of an array, or an error that says what would be right."""
    wanted = "an image array must be uint8 of shape HxWx3 (RGB, 0-255), HxW, HxWx1 or HxWx4"
    if array.dtype != np.uint8:
        hints = {
            "f": "; for values 0-1 use (image * 255).round().astype(np.uint8)",
            "b": "; use image.astype(np.uint8) * 255",
            "u": "; for 16-bit values 0-65535 use (image // 257).astype(np.uint8)",
        }
        hint = hints.get(array.dtype.kind, "")
        raise ImageError(f"The array is {array.dtype}, but {wanted}{hint}.")
    if array.ndim == 2:
        return np.repeat(array[..., None], 3, axis=2)
    channels = array.shape[2] if array.ndim == 3 else 0
    if channels == 1:
        return np.repeat(array, 3, axis=2)
    if channels in (3, 4):
        return array[..., :3]
    hint = ""
    if array.ndim == 3 and array.shape[0] in (1, 3, 4):
        hint = "; this one looks channels-first, use image.transpose(1, 2, 0)"
    elif array.ndim == 4 and array.shape[0] == 1:
        hint = "; use image[0] to drop the batch dimension"
    raise ImageError(f"The array has shape {array.shape}, but {wanted}{hint}.")


def _damaged(name: str, error: Exception) -> ImageError:
    reason = str(error).strip().rstrip(".") or type(error).__name__
    return ImageError(f"The image {name} is truncated or damaged and cannot be read ({reason}).")


def _bomb(name: str, error: Exception) -> ImageError:
    own = re.search(r"\((\d+) pixels\)", str(error))
    count = int(own[1]) if own else 0
    has = f"{count:,} pixels, more than the {Image.MAX_IMAGE_PIXELS:,} that are allowed,"
    if not count:
        has = f"more than {Image.MAX_IMAGE_PIXELS:,} pixels"
    return ImageError(
        f"The image {name} has {has} and is refused as a decompression bomb; scale it down, or "
        f"allow more if you trust it: --max-pixels {count or 'N'}, or {MAX_PIXELS_VARIABLE}."
    )


if os.environ.get(MAX_PIXELS_VARIABLE, "").isdecimal():
    allow_pixels(int(os.environ[MAX_PIXELS_VARIABLE]))
