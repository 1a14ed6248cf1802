"""Decoders and encoders that read an input wrongly, to be converted as right ones are.

Each class changes one thing of the contract's module, by ops that every converter takes.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from converters.modules import DecoderModule, EncoderModule
from mobilesam.bundle.contract import Component, Contract
from mobilesam.model.sam import MobileSAM

Prompt = tuple[Tensor, Tensor, Tensor, Tensor]
"""``point_coords``, ``point_labels``, ``mask_input`` and ``has_mask_input``."""


def _is(labels: Tensor, label: int) -> Tensor:
    """[1, K]: one where a slot has a label, zero elsewhere."""
    return torch.relu(1 - (labels - label).abs())


def _any(flags: Tensor) -> Tensor:
    """[1, K] of ones and zeros to [1, 1]: one if there is a one."""
    return flags.sum(dim=1, keepdim=True).clamp(0, 1)


def _slots_ignored(count: int) -> Callable[..., Prompt]:
    def change(coords: Tensor, labels: Tensor, mask: Tensor, given: Tensor) -> Prompt:
        unused = torch.full((1, count), -2.0)
        return coords, torch.cat([labels[:, :-count], unused], dim=1), mask, given

    return change


def _mask_dropped_beside_a_box(c: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
    return c, labels, m, given * (1 - _any(_is(labels, 2))).reshape(1)


def _mask_alone_ignored(c: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
    return c, labels, m, given * _any((labels + 2).clamp(0, 1)).reshape(1)


def _flag_ignored(c: Tensor, labels: Tensor, mask: Tensor, given: Tensor) -> Prompt:
    return c, labels, mask, given * 0 + 1


def _mask_ignored(c: Tensor, labels: Tensor, mask: Tensor, given: Tensor) -> Prompt:
    return c, labels, mask, given * 0


def _mask_clipped(c: Tensor, labels: Tensor, mask: Tensor, given: Tensor) -> Prompt:
    return c, labels, mask.clamp(-1, 1), given


def _unused_read(c: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
    return c, labels.clamp(min=-1), m, given


def _unused_are_background(c: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
    return c, labels + 2 * _is(labels, -2), m, given


def _lone_negatives_positive(c: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
    positive = _any(labels.clamp(0, 1))
    return c, labels + _is(labels, 0) * (1 - positive), m, given


def _second_negative_positive(c: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
    negative = _is(labels, 0)
    later = torch.cat([negative[:, :1] * 0, negative[:, :-1].cumsum(dim=1)], dim=1).clamp(0, 1)
    return c, labels + negative * later, m, given


def _corners_swapped(c: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
    return c, labels + _is(labels, 2) - _is(labels, 3), m, given


def _coordinates_clamped(coords: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
    return coords.clamp(1.0, 126.0), labels, m, given


def _coordinates_rounded(coords: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
    return coords.round(), labels, m, given


def _half_pixel_missing(coords: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
    return coords - 0.5, labels, m, given


def _second_point_shifted(coords: Tensor, labels: Tensor, m: Tensor, given: Tensor) -> Prompt:
    """Only where there is no box."""
    second = torch.zeros(1, labels.shape[1], 1)
    second[:, 1] = 4.0
    return coords + second * (1 - _any(_is(labels, 2))).unsqueeze(-1), labels, m, given


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
}


class WrongPrompt(DecoderModule):
    """Reads a prompt as a function of :data:`PROMPT_FAULTS` changes it."""

    def __init__(self, model: MobileSAM, contract: Contract, change: Callable[..., Prompt]) -> None:
        super().__init__(model, contract)
        self.change = change

    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """As the right decoder."""
        read = self.change(point_coords, point_labels, mask_input, has_mask_input)
        return super().forward(image_embeddings, *read)


Answer = tuple[Tensor, Tensor]

ANSWER_FAULTS: Mapping[str, Callable[[Tensor, Tensor], Answer]] = {
    "masks 1 and 2 exchanged": lambda masks, iou: (
        torch.cat([masks[:, :1], masks[:, 2:3], masks[:, 1:2], masks[:, 3:]], dim=1),
        iou,
    ),
    "masks and IoU predictions turned by one": lambda masks, iou: (
        torch.cat([masks[:, 1:], masks[:, :1]], dim=1),
        torch.cat([iou[:, 1:], iou[:, :1]], dim=1),
    ),
    "one IoU prediction 0.06 too high": lambda masks, iou: (
        masks,
        iou + torch.tensor([[0.0, 0.06, 0.0, 0.0]]),
    ),
    "rows and columns of the masks exchanged": lambda masks, iou: (masks.transpose(2, 3) * 1, iou),
}


class WrongAnswer(DecoderModule):
    """Gives an answer as a function of :data:`ANSWER_FAULTS` changes it."""

    def __init__(
        self, model: MobileSAM, contract: Contract, change: Callable[[Tensor, Tensor], Answer]
    ) -> None:
        super().__init__(model, contract)
        self.change = change

    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """As the right decoder."""
        prompt = point_coords, point_labels, mask_input, has_mask_input
        return self.change(*super().forward(image_embeddings, *prompt))


Picture = tuple[Tensor, Tensor]

IMAGE_FAULTS: Mapping[str, Callable[[Tensor, Tensor], Picture]] = {
    "valid_size at least 32": lambda image, valid: (image, valid.clamp(min=32.0)),
    "valid_size ignored, the padding black": lambda image, valid: (image, valid * 0 + 128.0),
    "valid_size as width and height": lambda image, valid: (
        image,
        torch.cat([valid[1:], valid[:1]]),
    ),
    "channels in the order BGR": lambda image, valid: (
        torch.cat([image[:, 2:], image[:, 1:2], image[:, :1]], dim=1),
        valid,
    ),
}


class WrongImage(EncoderModule):
    """Reads an image as a function of :data:`IMAGE_FAULTS` changes it."""

    def __init__(
        self, model: MobileSAM, contract: Contract, change: Callable[[Tensor, Tensor], Picture]
    ) -> None:
        super().__init__(model, contract)
        self.change = change

    def forward(self, image: Tensor, valid_size: Tensor | None = None) -> Tensor:
        """As the right encoder of variant ``pixels``."""
        assert valid_size is not None
        return super().forward(*self.change(image, valid_size))


GRAPH_FAULTS: Mapping[str, tuple[Component, type[nn.Module], Callable[..., object]]] = {
    **{name: ("decoder", WrongPrompt, change) for name, change in PROMPT_FAULTS.items()},
    **{name: ("decoder", WrongAnswer, change) for name, change in ANSWER_FAULTS.items()},
    **{name: ("encoder", WrongImage, change) for name, change in IMAGE_FAULTS.items()},
}
"""By name: the component, the class of its module, and what that module is given besides."""


def faulty_module(name: str, model: MobileSAM, contract: Contract) -> nn.Module:
    """The module of a fault of :data:`GRAPH_FAULTS`, in eval mode, with frozen parameters."""
    _, kind, change = GRAPH_FAULTS[name]
    return kind(model, contract, change).eval().requires_grad_(False)
