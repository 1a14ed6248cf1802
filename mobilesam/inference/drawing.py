"""Pictures of masks: photo with prompt, reference's mask, exported mask, and where they differ."""

import base64
import io
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from mobilesam.inference.prompts import Prompt

# Okabe and Ito's palette, told apart in every common kind of colour blindness.
REFERENCE_COLOUR = (86, 180, 233)
EXPORT_COLOUR = (230, 159, 0)
_OBJECT_COLOURS = (
    REFERENCE_COLOUR,
    EXPORT_COLOUR,
    (0, 158, 115),
    (204, 121, 167),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
)
_POSITIVE = (0, 158, 60)
_NEGATIVE = (213, 40, 40)
_BOX = (240, 228, 66)
_WHITE = (255, 255, 255)
_STRIP = (32, 36, 40)
_GAP = 6
# Prompts are drawn this many times larger, then reduced: Pillow draws without smoothing.
_SMOOTH = 3

RGB = tuple[int, int, int]
BoolMask = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.uint8]


def draw_case(
    image: Pixels,
    prompt: Prompt,
    reference_mask: BoolMask,
    exported_mask: BoolMask,
    *,
    max_side: int = 480,
) -> Image.Image:
    """Four panels side by side: prompt, reference mask, exported mask, difference.

    Args:
        image: HxWx3 uint8 RGB.
        prompt: in pixels of the image.
        reference_mask: HxW bool.
        exported_mask: HxW bool.
        max_side: longest side of one panel in pixels.

    Raises:
        ValueError: a mask has not the image's size.
    """
    photo, scale = _fit(image, max_side)
    only_reference = _same_size(reference_mask, image) & ~_same_size(exported_mask, image)
    only_export = exported_mask & ~reference_mask
    difference = _greyed(photo)
    # Widened by a pixel all round, so that even one that differs is seen however small the panel.
    for mask, colour in ((only_reference, REFERENCE_COLOUR), (only_export, EXPORT_COLOUR)):
        touched = Image.fromarray((_coverage(mask, photo.size) > 0).astype(np.uint8))
        widened = np.asarray(touched.filter(ImageFilter.MaxFilter(3))) > 0
        difference = _tint(difference, widened, colour, 1.0)
    share = 100.0 * (only_reference.sum() + only_export.sum()) / reference_mask.size
    panels = [
        (_title(prompt), _draw_prompt(photo, prompt, scale), None),
        ("reference", _overlay(photo, reference_mask, REFERENCE_COLOUR), REFERENCE_COLOUR),
        ("export", _overlay(photo, exported_mask, EXPORT_COLOUR), EXPORT_COLOUR),
        (f"difference {share:.3g} %", difference, None),
    ]
    return _side_by_side(panels)


def draw_masks(
    image: Pixels,
    prompt: Prompt,
    masks: npt.NDArray[np.bool_] | Sequence[BoolMask],
    *,
    titles: Sequence[str] | None = None,
    max_side: int = 360,
) -> Image.Image:
    """The photo with its prompt, then one panel a mask, side by side.

    Args:
        image: HxWx3 uint8 RGB.
        prompt: in pixels of the image.
        masks: N masks of HxW bool.
        titles: one a mask; "mask 0", "mask 1", … by default.
        max_side: longest side of one panel in pixels.

    Raises:
        ValueError: a mask has not the image's size, or titles and masks differ in number.
    """
    photo, scale = _fit(image, max_side)
    names = [f"mask {i}" for i in range(len(masks))] if titles is None else list(titles)
    panels: list[tuple[str, Image.Image, RGB | None]] = [
        (_title(prompt), _draw_prompt(photo, prompt, scale), None)
    ]
    for name, mask in zip(names, masks, strict=True):
        checked = _same_size(mask, image)
        panels.append((name, _overlay(photo, checked, REFERENCE_COLOUR), None))
    return _side_by_side(panels)


def draw_answer(image: Pixels, prompt: Prompt, mask: BoolMask, *, max_side: int) -> Image.Image:
    """One panel without a title: the photo with a mask and, over it, the prompt.

    Args:
        image: HxWx3 uint8 RGB.
        prompt: in pixels of the image.
        mask: HxW bool.
        max_side: longest side of the picture in pixels.

    Raises:
        ValueError: the mask has not the image's size.
    """
    photo, scale = _fit(image, max_side)
    return _draw_prompt(_overlay(photo, _same_size(mask, image), REFERENCE_COLOUR), prompt, scale)


def draw_objects(
    image: Pixels,
    masks: Sequence[BoolMask],
    boxes: Sequence[Sequence[float]],
    *,
    titles: Sequence[str],
    fill: bool = True,
    outline: bool = True,
) -> Image.Image:
    """The photo at its own size with objects, each in a colour of its own.

    Args:
        image: HxWx3 uint8 RGB.
        masks: N masks of HxW bool.
        boxes: N of x1, y1, x2, y2.
        titles: N; an empty one is not written.
        fill: tint the masks.
        outline: draw the boxes.

    Raises:
        ValueError: a mask has not the image's size, or there are not as many of each.
    """
    picture = Image.fromarray(image)
    height, width = image.shape[:2]
    colours = [_OBJECT_COLOURS[n % len(_OBJECT_COLOURS)] for n in range(len(masks))]
    corners = [tuple(round(side) for side in box) for box in boxes]
    for mask, (x1, y1, x2, y2), colour in zip(masks, corners, colours, strict=True):
        checked = _same_size(mask, image)
        # The contour reaches a little over the box; elsewhere nothing changes.
        x1, y1, x2, y2 = max(0, x1 - 4), max(0, y1 - 4), min(width, x2 + 4), min(height, y2 + 4)
        if fill and checked.any():
            part = _overlay(picture.crop((x1, y1, x2, y2)), checked[y1:y2, x1:x2], colour)
            picture.paste(part, (x1, y1))
    draw = ImageDraw.Draw(picture)
    thick = max(1, round(max(width, height) / 400))
    font = ImageFont.load_default(max(10, round(max(width, height) / 50)))
    for (x1, y1, x2, y2), title, colour in zip(corners, titles, colours, strict=True):
        if x2 <= x1:
            continue
        if outline:
            draw.rectangle((x1, y1, x2 - 1, y2 - 1), outline=colour, width=thick)
        if title:
            left, top, right, bottom = draw.textbbox((0, 0), title, font=font)
            side = x1, max(0, y1 - (bottom - top) - 2 * thick)
            back = (*side, side[0] + right - left + 2 * thick, side[1] + bottom - top + 2 * thick)
            draw.rectangle(back, fill=colour)
            place = side[0] + thick - left, side[1] + thick - top
            draw.text(place, title, fill=(0, 0, 0), font=font)
    return picture


def data_uri(image: Image.Image, *, quality: int = 82) -> str:
    """The picture as a ``data:`` URI, in JPEG."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="jpeg", quality=quality, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _title(prompt: Prompt) -> str:
    # A mask input is low-res logits: it is named, not drawn.
    return "prompt" if prompt.mask_input is None else "prompt + mask"


def _fit(image: Pixels, max_side: int) -> tuple[Image.Image, tuple[float, float]]:
    """The photo with its longest side ``max_side``, and the scale of x and of y."""
    height, width = image.shape[:2]
    factor = max_side / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    photo = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)
    return photo, (size[0] / width, size[1] / height)


def _same_size(mask: BoolMask, image: Pixels) -> BoolMask:
    if mask.shape != image.shape[:2] or mask.dtype != np.bool_:
        raise ValueError(
            f"a mask must be bool of the image's size {list(image.shape[:2])}, "
            f"not {mask.dtype} {list(mask.shape)}"
        )
    return mask


def _coverage(mask: BoolMask, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """How much of each panel pixel the mask covers, 0 to 1."""
    picture = Image.fromarray(mask.astype(np.float32))
    enlarged = size[0] > mask.shape[1] or size[1] > mask.shape[0]
    filter_ = Image.Resampling.NEAREST if enlarged else Image.Resampling.BOX
    return np.asarray(picture.resize(size, filter_))


def _tint(photo: Image.Image, where: BoolMask, colour: RGB, strength: float) -> Image.Image:
    pixels = np.asarray(photo, np.float32)
    weight = where[..., None].astype(np.float32) * strength
    mixed = pixels * (1 - weight) + np.array(colour, np.float32) * weight
    return Image.fromarray(mixed.round().astype(np.uint8))


def _greyed(photo: Image.Image) -> Image.Image:
    """The photo as a dark grey ground on which two colours stand out."""
    grey = np.asarray(photo.convert("L"), np.float32) * 0.45
    return Image.fromarray(grey.round().astype(np.uint8)).convert("RGB")


def _overlay(photo: Image.Image, mask: BoolMask, colour: RGB) -> Image.Image:
    """The mask tinted, with a contour in the same colour between thin dark lines."""
    inside = _coverage(mask, photo.size) >= 0.5
    binary = Image.fromarray(inside.astype(np.uint8) * 255)
    grown = np.asarray(binary.filter(ImageFilter.MaxFilter(3))) > 0
    shrunk = np.asarray(binary.filter(ImageFilter.MinFilter(3))) > 0
    deeper = np.asarray(binary.filter(ImageFilter.MinFilter(5))) > 0
    tinted = _tint(photo, inside, colour, 0.45)
    tinted = _tint(tinted, grown & ~deeper, (0, 0, 0), 0.55)
    return _tint(tinted, inside & ~shrunk | grown & ~inside, colour, 1.0)


def _draw_prompt(photo: Image.Image, prompt: Prompt, scale: tuple[float, float]) -> Image.Image:
    """Box yellow; foreground points filled green, background points hollow red, white outlines."""
    width, height = photo.size
    layer = Image.new("RGBA", (width * _SMOOTH, height * _SMOOTH), (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    unit = max(width, height) * _SMOOTH / 480
    to_layer = np.array(scale) * _SMOOTH
    if prompt.box is not None:
        corners = (prompt.box.reshape(2, 2) * to_layer).round().astype(int)
        # A box that fills the photo is drawn just inside its edge.
        margin = round(3 * unit)
        corners = corners.clip(margin, np.array(layer.size) - 1 - margin)
        corners[1] = np.maximum(corners[0], corners[1])
        for colour, thick in (((0, 0, 0), 6), (_BOX, 3)):
            spread = round((thick - 3) / 2 * unit)
            outline = [*(corners[0] - spread).tolist(), *(corners[1] + spread).tolist()]
            draw.rectangle(outline, outline=colour, width=max(1, round(thick * unit)))
    for (x, y), label in zip(prompt.point_coords * to_layer, prompt.point_labels, strict=True):
        if label:
            _disc(draw, x, y, 9 * unit, _WHITE)
            _disc(draw, x, y, 6.5 * unit, _POSITIVE)
        else:
            for radius, thick, colour in ((11, 6, _WHITE), (9.5, 3, _NEGATIVE)):
                _ring(draw, x, y, radius * unit, thick * unit, colour)
    small = layer.resize(photo.size, Image.Resampling.BOX)
    return Image.alpha_composite(photo.convert("RGBA"), small).convert("RGB")


def _disc(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, colour: RGB) -> None:
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _ring(
    draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, thick: float, colour: RGB
) -> None:
    bounds = (x - radius, y - radius, x + radius, y + radius)
    draw.ellipse(bounds, outline=colour, width=max(1, round(thick)))


def _side_by_side(panels: Sequence[tuple[str, Image.Image, RGB | None]]) -> Image.Image:
    """Panels of one size in a row, each under its title; a colour puts a swatch before it."""
    width, height = panels[0][1].size
    text = max(12, round(max(width, height) / 21))
    strip = round(text * 1.7)
    font = ImageFont.load_default(text)
    # Narrow panels stand in wider columns, so that the titles stay whole.
    titles = (
        font.getlength(title) + text * (2.5 if colour else 1.25) for title, _, colour in panels
    )
    column = max(width, math.ceil(max(titles)))
    sheet = Image.new(
        "RGB", (column * len(panels) + _GAP * (len(panels) - 1), height + strip), _STRIP
    )
    draw = ImageDraw.Draw(sheet)
    for index, (title, panel, colour) in enumerate(panels):
        left = index * (column + _GAP)
        start = left + text // 2
        if colour is not None:
            top = (strip - text * 3 // 4) // 2
            draw.rectangle((start, top, start + text * 3 // 4, top + text * 3 // 4), fill=colour)
            start += text * 5 // 4
        draw.text((start, strip / 2), title, fill=_WHITE, font=font, anchor="lm")
        sheet.paste(panel, (left + (column - width) // 2, strip))
    return sheet
