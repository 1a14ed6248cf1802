"""Ways of reading a prompt wrongly, by ops that every converter takes."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Prompt = tuple[Tensor, Tensor, Tensor, Tensor]
"""``point_coords``, ``point_labels``, ``mask_input`` and ``has_mask_input``."""


def clipped(values: Tensor, low: float, high: float) -> Tensor:
    """As ``clamp``; torch's exporter to ONNX cannot clamp one tensor in two ways."""
    return low + torch.relu(values - low) - torch.relu(values - high)


def _is(labels: Tensor, label: int) -> Tensor:
    """[1, K]: one where a slot has a label, zero elsewhere."""
    return torch.relu(1 - (labels - label).abs())


def _slot(place: int, labels: Tensor) -> Tensor:
    """[1, K, 1]: one for a slot, zero for the others."""
    return torch.tensor([[[float(slot == place)] for slot in range(labels.shape[1])]])


def _any(flags: Tensor) -> Tensor:
    """[1, K] of ones and zeros to [1, 1]: one if there is a one."""
    return clipped(flags.sum(dim=1, keepdim=True), 0, 1)


def _slots_ignored(count: int) -> Callable[..., Prompt]:
    def change(coords: Tensor, labels: Tensor, mask: Tensor, given: Tensor) -> Prompt:
        unused = torch.full((1, count), -2.0)
        return coords, torch.cat([labels[:, :-count], unused], dim=1), mask, given

    return change


def _mask_dropped_beside_a_box(c: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
    return c, labels, m, given * (1 - _any(_is(labels, 2))).reshape(1)


def _mask_alone_ignored(c: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
    return c, labels, m, given * _any(clipped(labels + 2, 0, 1)).reshape(1)


def _flag_ignored(c: Tensor, labels: Tensor, mask: Tensor, given: Tensor) -> Prompt:
    return c, labels, mask, given * 0 + 1


def _mask_ignored(c: Tensor, labels: Tensor, mask: Tensor, given: Tensor) -> Prompt:
    return c, labels, mask, given * 0


def _mask_clipped(c: Tensor, labels: Tensor, mask: Tensor, given: Tensor) -> Prompt:
    return c, labels, clipped(mask, -1, 1), given


def _unused_read(c: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
    return c, torch.relu(labels + 1) - 1, m, given


def _unused_are_background(c: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
    return c, labels + 2 * _is(labels, -2), m, given


def _lone_negatives_positive(c: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
    positive = _any(clipped(labels, 0, 1))
    return c, labels + _is(labels, 0) * (1 - positive), m, given


def _second_negative_positive(c: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
    negative = _is(labels, 0)
    count = labels.shape[1]
    earlier = torch.tensor([[float(one < other) for other in range(count)] for one in range(count)])
    before = negative @ earlier
    return c, labels + negative * clipped(before, 0, 1), m, given


def _corners_swapped(c: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
    return c, labels + _is(labels, 2) - _is(labels, 3), m, given


def _coordinates_clamped(coords: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
    return clipped(coords, 1, 126), labels, m, given


def _coordinates_rounded(coords: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
    return coords.round(), labels, m, given


def _half_pixel_missing(coords: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
    return coords - 0.5, labels, m, given


def _second_point_shifted(coords: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
    """Only where there is no box."""
    second = _slot(1, labels)
    return coords + 4 * second * (1 - _any(_is(labels, 2))).unsqueeze(-1), labels, m, given


def _box_as_points(c: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
    return c, labels - _is(labels, 2) - 2 * _is(labels, 3), m, given


def _no_padding_point(c: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
    return c, labels - _is(labels, -1), m, given


def _negatives_beside_a_box_ignored(c: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
    return c, labels - 2 * _is(labels, 0) * _any(_is(labels, 2)), m, given


def _axes_exchanged(coords: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
    return torch.cat([coords[..., 1:], coords[..., :1]], dim=-1), labels, m, given


def _corners_aligned(coords: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
    return coords * (127 / 128), labels, m, given


def _far_right_shifted(coords: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
    """By two pixels, what lies in the last quarter of the frame's width."""
    return coords - 2 * clipped(coords[..., :1] - 96, 0, 1), labels, m, given


def _off_at_slots(count: int) -> Callable[..., Prompt]:
    """The first point is four pixels off where exactly so many slots are taken."""

    def change(coords: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
        taken = clipped(labels + 2, 0, 1).sum(dim=1, keepdim=True)
        return coords + 4 * _slot(0, labels) * _is(taken, count).unsqueeze(-1), labels, m, given

    return change


def _mask_ignored_beside_two(c: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
    """Beside two points or more."""
    points = (_is(labels, 0) + _is(labels, 1)).sum(dim=1)
    return c, labels, m, given * (1 - clipped(points - 1, 0, 1))


def _mask_changed(change: Callable[[Tensor], Tensor]) -> Callable[..., Prompt]:
    return lambda coords, labels, mask, given: (coords, labels, change(mask), given)


PROMPT_FAULTS: Mapping[str, Callable[..., Prompt]] = {
    "the last slot ignored": _slots_ignored(1),
    "the last two slots ignored": _slots_ignored(2),
    "the mask input dropped beside a box": _mask_dropped_beside_a_box,
    "a mask input without points or box ignored": _mask_alone_ignored,
    "has_mask_input taken for 1": _flag_ignored,
    "has_mask_input taken for 0": _mask_ignored,
    "the mask input clipped to -1 to 1": _mask_clipped,
    "unused slots read as padding points": _unused_read,
    "unused slots read as background": _unused_are_background,
    "negative points alone taken for positive": _lone_negatives_positive,
    "a second negative point taken for positive": _second_negative_positive,
    "the corners of a box swapped": _corners_swapped,
    "coordinates clamped a pixel inside the frame": _coordinates_clamped,
    "coordinates rounded": _coordinates_rounded,
    "the half pixel missing": _half_pixel_missing,
    "the second point four pixels off where there is no box": _second_point_shifted,
    "a box read as two foreground points": _box_as_points,
    "the padding point missing": _no_padding_point,
    "background points beside a box ignored": _negatives_beside_a_box_ignored,
    "x and y exchanged": _axes_exchanged,
    "coordinates scaled as if corners were aligned": _corners_aligned,
    "points in the last quarter of the width two pixels off": _far_right_shifted,
    "the first point four pixels off where four slots are taken": _off_at_slots(4),
    "the first point four pixels off where every slot is taken": _off_at_slots(8),
    "the mask input ignored beside two points": _mask_ignored_beside_two,
    "the mask input thresholded": _mask_changed(lambda mask: clipped(mask, 0, 1)),
    "the mask input taken as probabilities": _mask_changed(torch.sigmoid),
    "the mask input negated": _mask_changed(lambda mask: -mask),
    "rows and columns of the mask input exchanged": _mask_changed(
        lambda mask: mask.transpose(2, 3) * 1
    ),
}
"""Each takes the contract's tensors of a prompt, for eight slots in a frame of 128 pixels."""
