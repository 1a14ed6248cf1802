"""Which values lie in whose memory, and when an op may write over its argument.

Memory that is new to a process costs more than adding or multiplying in it: the system clears every
page on its first use. A value of the image encoder has up to 67 MB, and a run makes 2.4 GB of them.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from coreml_evaluator.arguments import Argument, Value


def address(value: Tensor) -> int:
    """Where the memory behind a tensor begins; views of a tensor have the same."""
    return value.untyped_storage().data_ptr()


def addresses(values: Iterable[Argument]) -> set[int]:
    """Those of all tensors among values and lists of values."""
    found: set[int] = set()
    for value in values:
        if isinstance(value, Tensor):
            found.add(address(value))
        elif not isinstance(value, str):
            found |= addresses(value)
    return found


def can_hold_result(x: Value, arguments: Mapping[str, Argument], others: set[int]) -> bool:
    """Whether an elementwise op may write its result over its argument ``x``.

    Args:
        x: no longer needed itself.
        arguments: all those of the op.
        others: addresses of memory that is still needed.
    """
    if not isinstance(x, Tensor) or not x.is_contiguous() or address(x) in others:
        return False
    shapes = [given.shape for given in arguments.values() if isinstance(given, Tensor)]
    return torch.broadcast_shapes(*shapes) == x.shape
