"""What is rounded in a float16 program, and what nobody can know away from the device.

Rounded to float16 (nearest, ties to even, overflow to infinity): every float16 constant and input,
and every output of every op whose type the program declares as float16. Values are kept in float32,
which holds each float16 exactly, so that moving and selecting ops need no rounding.

Computed in float32 and rounded once, at the op's output: the inside of an op. A matrix product or
convolution accumulates in float32, a layer norm takes its mean and variance in float32, a softmax
its exponentials and sum.

Not known here: in which order and width a GPU or the Neural Engine accumulates, whether it flushes
subnormals to zero, how it approximates ``exp``, ``erf``, ``sin`` or a square root, which ops Core
ML fuses (skipping a rounding) and which it moves to another compute unit. So this shows the error
that the float16 format itself causes, and any overflow of a value beyond 65,504; a device may be
somewhat better or worse. The check on the device is ``MLModel`` on a Mac.
"""

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

_CHUNK = 1 << 15
"""Elements rounded at a time: the float16 copy stays in the processor's cache, and this is the most
for which torch calls in no threads of its own; their waiting for each other cost more than the
rounding."""

_SHARED_FROM = 16 * _CHUNK
"""Elements from which on rounding is shared among as many threads as torch computes with."""

_THREADS = ThreadPoolExecutor(thread_name_prefix="round-to-half")


def round_to_half(x: Tensor) -> Tensor:
    """A float32 tensor with every value rounded to float16; the argument is left alone."""
    return x.to(torch.float16).to(torch.float32)


def round_to_half_(x: Tensor) -> Tensor:
    """Round the values of a float32 tensor to float16 in place, and return it.

    All memory behind the tensor is rounded, in whatever order its dimensions lie: it must belong
    to this tensor alone.
    """
    flat = x.as_strided((x.untyped_storage().nbytes() // x.element_size(),), (1,), 0)
    threads = torch.get_num_threads() if flat.numel() >= _SHARED_FROM else 1
    first, *others = flat.chunk(threads)
    waited_for = [_THREADS.submit(_round, part) for part in others]
    _round(first)
    for part in waited_for:
        part.result()
    return x


@torch.inference_mode()  # which each thread enters for itself
def _round(flat: Tensor) -> None:
    half = torch.empty(min(_CHUNK, flat.numel()), dtype=torch.float16)
    for chunk in flat.split(_CHUNK):
        part = half[: chunk.numel()]
        part.copy_(chunk)
        chunk.copy_(part)
