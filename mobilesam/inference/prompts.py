"""What a user points at: the prompt, checked once and passed on unchanged."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mobilesam.errors import PromptError

if TYPE_CHECKING:
    from torch import Tensor

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Prompt:
    """Points, box and mask input for one mask, in pixels of the original image.

    Build it with :func:`make_prompt`, which checks it.

    Attributes:
        point_coords: [N, 2] float32, x and y; (0, 0) is the top-left corner. N may be 0.
        point_labels: [N] float32; 1 foreground, 0 background.
        box: [4] float32 as x1, y1, x2, y2, or None.
        mask_input: [S/4, S/4] float32 low-res logits of an earlier pass, or None.
        notes: what was adjusted, in words for the user.
    """

    point_coords: FloatArray
    point_labels: FloatArray
    box: FloatArray | None = None
    mask_input: FloatArray | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def is_ambiguous(self) -> bool:
        """A single point and nothing else: SAM then offers three masks to choose from."""
        return len(self.point_coords) == 1 and self.box is None and self.mask_input is None


def make_prompt(
    point_coords: npt.ArrayLike | None = None,
    point_labels: npt.ArrayLike | None = None,
    box: npt.ArrayLike | None = None,
    mask_input: npt.ArrayLike | None = None,
    *,
    original_size: tuple[int, int],
    low_res_size: int = 256,
) -> Prompt:
    """Check a prompt against its image and make it canonical.

    Args:
        point_coords: [N, 2] x, y in pixels of the original image, 0 to width and height inclusive.
        point_labels: [N] of 0 or 1.
        box: [4] x1, y1, x2, y2; what reaches over the image's edge is clipped, with a note.
        mask_input: [S/4, S/4] or [1, S/4, S/4] logits.
        original_size: height and width of the image.
        low_res_size: S/4.

    Raises:
        PromptError: nothing was given, or something that cannot be a prompt.
    """
    height, width = original_size
    coords = np.zeros((0, 2), np.float32)
    labels = np.zeros(0, np.float32)
    if point_labels is not None and point_coords is None:
        raise PromptError("labels were given without points: give one point for each label")
    if point_coords is not None:
        coords = _floats(point_coords, "point_coords").reshape(-1, 2)
        if point_labels is None:
            raise PromptError(
                f"{len(coords)} point(s) were given without labels: give 1 (foreground) or 0 "
                "(background) for each"
            )
        labels = _floats(point_labels, "point_labels").reshape(-1)
        _check_points(coords, labels, height, width)
    checked_box, notes = (None, ()) if box is None else _check_box(box, height, width)
    mask = None if mask_input is None else _check_mask(mask_input, low_res_size)
    if not len(coords) and checked_box is None and mask is None:
        raise PromptError("no prompt was given: give at least one point, a box or a mask input")
    return Prompt(coords, labels, checked_box, mask, notes)


def check_batch(
    parts: "dict[str, tuple[Tensor | None, tuple[int | str, ...]]]",
) -> None:
    """Check the shapes of a batch of prompts.

    Args:
        parts: name to tensor (None: not given) and to the shape it must have; a letter stands for
            any size.

    Raises:
        PromptError: nothing was given, a shape is another, the first dimensions differ, or there
            are not as many labels as points.
    """
    given = {name: (tuple(t.shape), form) for name, (t, form) in parts.items() if t is not None}
    sizes = [shape[0] for shape, _ in given.values() if shape]
    if not given or 0 in sizes:
        raise PromptError("no prompt was given: give points, boxes or a mask input")
    for name, (shape, form) in given.items():
        fits = len(shape) == len(form) and all(
            isinstance(wanted, str) or side == wanted
            for side, wanted in zip(shape, form, strict=True)
        )
        if not fits:
            wanted = "x".join(str(side) for side in form)
            raise PromptError(f"{name} must be {wanted}, not {'x'.join(map(str, shape))}")
    if len(set(sizes)) > 1:
        listed = ", ".join(str(size) for size in sizes)
        raise PromptError(f"every part of a batch needs the same first dimension, not {listed}")
    counts = {shape[1] for name, (shape, _) in given.items() if name.startswith("point_")}
    if len(counts) > 1:
        raise PromptError("point_coords and point_labels must hold the same number of points")


def _floats(value: npt.ArrayLike, name: str) -> FloatArray:
    try:
        if np.iscomplexobj(value):
            raise TypeError
        with np.errstate(over="ignore"):  # what is too large for float32 is told of below
            array = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError):
        what = value.dtype if isinstance(value, np.ndarray) else repr(value)
        raise PromptError(f"{name} must be real numbers, not {what}") from None
    widths = {"point_coords": 2, "box": 4}
    if name in widths and (array.size % widths[name] or array.ndim == 0):
        wanted = "[N, 2] (x, y)" if name == "point_coords" else "[4] (x1, y1, x2, y2)"
        raise PromptError(f"{name} must have the shape {wanted}, not {list(array.shape)}")
    if not np.isfinite(array).all():
        raise PromptError(f"{name} has a value that is not finite (NaN or infinity)")
    return array


def _check_points(coords: FloatArray, labels: FloatArray, height: int, width: int) -> None:
    if len(coords) != len(labels):
        raise PromptError(
            f"{len(coords)} point(s) but {len(labels)} label(s): give one label for each point"
        )
    outside = (coords < 0).any(1) | (coords[:, 0] > width) | (coords[:, 1] > height)
    if outside.any():
        x, y = coords[outside][0]
        raise PromptError(
            f"point ({x:g}, {y:g}) is outside the image: x must be in 0..{width}, y in 0..{height}"
        )
    wrong = ~np.isin(labels, (0, 1))
    if wrong.any():
        raise PromptError(
            f"label {labels[wrong][0]:g} is not known: use 1 for foreground, 0 for background"
        )


def _check_box(box: npt.ArrayLike, height: int, width: int) -> tuple[FloatArray, tuple[str, ...]]:
    array = _floats(box, "box").reshape(-1)
    if array.size != 4:
        raise PromptError(f"box must be four numbers x1, y1, x2, y2, not {array.size}")
    x1, y1, x2, y2 = array.tolist()
    if x2 <= x1 or y2 <= y1:
        raise PromptError(
            f"box ({x1:g}, {y1:g}, {x2:g}, {y2:g}) is inverted or empty: x1 < x2 and y1 < y2 "
            "are needed"
        )
    clipped = np.clip(array, 0, np.array([width, height, width, height], np.float32))
    if clipped[2] <= clipped[0] or clipped[3] <= clipped[1]:
        raise PromptError(
            f"box ({x1:g}, {y1:g}, {x2:g}, {y2:g}) lies outside the image, which is {width} x "
            f"{height}"
        )
    if (clipped == array).all():
        return array, ()
    inside = ", ".join(f"{v:g}" for v in clipped)
    return clipped, (f"box ({x1:g}, {y1:g}, {x2:g}, {y2:g}) was clipped to ({inside})",)


def _check_mask(mask_input: npt.ArrayLike, low_res_size: int) -> FloatArray:
    mask = _floats(mask_input, "mask_input")
    if mask.shape not in ((low_res_size, low_res_size), (1, low_res_size, low_res_size)):
        raise PromptError(
            f"mask_input must be low-res logits [1, {low_res_size}, {low_res_size}] of an earlier "
            f"pass, not {list(mask.shape)}"
        )
    return mask.reshape(low_res_size, low_res_size)
