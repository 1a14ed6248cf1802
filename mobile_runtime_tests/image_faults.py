"""Ways of reading an image wrongly, by ops that every converter takes."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from mobile_runtime_tests.prompt_faults import clipped
from mobilesam.model.normalization import PIXEL_MEAN, PIXEL_STD

Picture = tuple[Tensor, Tensor]
"""``image`` and ``valid_size`` of variant ``pixels``, in a frame of 128 pixels."""

SIDE = 128


def _rgb(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).reshape(1, 3, 1, 1)


def _bgr(image: Tensor) -> Tensor:
    return torch.cat([image[:, 2:], image[:, 1:2], image[:, :1]], dim=1)


def _pixels(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Picture]:
    return lambda image, valid: (change(image), valid)


def _as_normalized(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Picture]:
    """Give the pixels that a right encoder normalises into what a wrong one makes of them."""
    mean, std = _rgb(PIXEL_MEAN), _rgb(PIXEL_STD)
    return lambda image, valid: (change(image) * std + mean, valid)


def _where(flag: Callable[[Tensor], Tensor], change: Callable[[Tensor], Tensor]) -> Callable:
    """Change the pixels where a flag of ``valid_size``, one or zero, is one."""
    return lambda image, valid: (image + flag(valid) * (change(image) - image), valid)


def _is_tall(valid: Tensor) -> Tensor:
    return clipped(valid[:1] - valid[1:], 0, 1).reshape(1, 1, 1, 1)


def _is_flat(valid: Tensor) -> Tensor:
    """Whether the photo fills less than a quarter of the frame's height."""
    return clipped(SIDE / 4 - valid[:1], 0, 1).reshape(1, 1, 1, 1)


def _one_row_down(image: Tensor) -> Tensor:
    return torch.cat([image[:, :, :1], image[:, :, :-1]], dim=2)


IMAGE_FAULTS: Mapping[str, Callable[[Tensor, Tensor], Picture]] = {
    "valid_size at least 32": lambda image, valid: (image, 32 + torch.relu(valid - 32)),
    "valid_size ignored, the padding black": lambda image, valid: (image, valid * 0 + SIDE),
    "valid_size as width and height": lambda image, valid: (
        image,
        torch.cat([valid[1:], valid[:1]]),
    ),
    "valid_size a pixel too small": lambda image, valid: (image, valid - 1),
    "valid_size the longer side for both": lambda image, valid: (
        image,
        valid * 0 + valid[1:] + torch.relu(valid[:1] - valid[1:]),
    ),
    "channels in the order BGR": _pixels(_bgr),
    "channels in the order BGR in the lower half": _pixels(
        lambda image: torch.cat([image[:, :, : SIDE // 2], _bgr(image[:, :, SIDE // 2 :])], dim=2)
    ),
    "channels in the order BGR where the photo is tall": _where(_is_tall, _bgr),
    "channels in the order BGR where the photo is a wide strip": _where(_is_flat, _bgr),
    "a row further down where the photo is tall": _where(_is_tall, _one_row_down),
    "a row further down": _pixels(_one_row_down),
    "rows and columns exchanged": _pixels(lambda image: image.transpose(2, 3) * 1),
    "values from 0 to 1": _pixels(lambda image: image / 255),
    "values from -1 to 1": _as_normalized(lambda image: image / 127.5 - 1),
    "not normalised": _as_normalized(lambda image: image * 1),
    "mean and std exchanged": _as_normalized(
        lambda image: (image - _rgb(PIXEL_STD)) / _rgb(PIXEL_MEAN)
    ),
    "mean and std in the order BGR": _as_normalized(
        lambda image: (image - _rgb(PIXEL_MEAN[::-1])) / _rgb(PIXEL_STD[::-1])
    ),
    "std missing": _as_normalized(lambda image: image - _rgb(PIXEL_MEAN)),
    "contrast a hundredth too high": _pixels(lambda image: image * 1.01),
}
"""Each takes the encoder's inputs, for a frame of :data:`SIDE` pixels."""
