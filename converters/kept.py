"""Ways of keeping an input only where it counts, whatever an app left in it where it does not.

Each takes values and ``wanted``, exactly one or zero, and gives the values where it is one and
zeros where it is zero. A product would not do: zero times infinity is not a number. The ways differ
in the ops that runtimes take.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

BOUND = 2.0**15
"""No logit reaches it, and float16 holds it."""

Keep = Callable[[Tensor, Tensor], Tensor]
"""Values [1, N, C] and wanted [1, N or 1] to [1, N, C]."""


def selected(values: Tensor, wanted: Tensor) -> Tensor:
    """By a selection: not a number and infinity are kept out on every runtime that selects."""
    # Zeros as a tensor: coremltools knows no selection of a scalar.
    return torch.where(wanted.unsqueeze(-1) > 0.5, values, torch.zeros_like(values))


def bounded(values: Tensor, wanted: Tensor) -> Tensor:
    """By bounds that are zero where nothing is wanted: arithmetic that GPU delegates take.

    Infinity is kept out. Whether not a number is depends on how a runtime compares: the greater of
    two numbers of which one is none may be either.
    """
    bound = wanted.unsqueeze(-1) * BOUND
    return torch.minimum(torch.maximum(values, -bound), bound)


def looked_up(values: Tensor, wanted: Tensor) -> Tensor:
    """By looking up each row at its own place, or at one outside of the values, which is zero.

    ncnn has no selection, and ONNX Runtime's bounds let through what is not a number; nearest
    lookup copies a value or reads none.
    """
    rows = values.shape[1]
    column = (2 * torch.arange(rows, dtype=values.dtype) + 1) / rows - 1  # -1 to 1 are the borders
    column = column.reshape(1, 1, rows, 1)
    row = (4 * (wanted - 1)).reshape(1, 1, -1, 1).expand(1, 1, rows, 1)
    found = functional.grid_sample(
        values.transpose(1, 2).unsqueeze(2),
        # Of a single row both coordinates are the same; ncnn has no constant of one number.
        torch.cat([row if rows == 1 else column, row], dim=-1),
        mode="nearest",
        padding_mode="zeros",
        align_corners=False,
    )
    return found.squeeze(2).transpose(1, 2)
