"""Whether a file stores its weights in as few bits as its scheme says.

A converter that quietly leaves layers out draws right masks, and the file is larger and slower than
its manifest says. How a weight is stored is seen by what its storage may round.
"""

from collections.abc import Iterator

import numpy as np

from converters.schemes import SMALL
from parity.weight_audit.constants import Constant
from parity.weight_audit.expected import Part
from parity.weight_audit.layouts import arranged
from parity.weight_audit.matching import Found, Pairs

LINEAR = {"fp16": 16, "w8": 8, "w8d": 8, "w8a8": 8, "w8a16": 8, "w4": 4, "p8": 8, "p6": 6, "p4": 4}
CONVOLUTION = {"w8": 8, "w8a8": 8, "w8a16": 8, "w4": 8, "p8": 8, "p6": 8, "p4": 8}
"""At most so many bits has a weight of the layers that every target's scheme of the name is about.
Not of depthwise and transposed convolutions, which some keep in float."""

BLOCK = 32
"""Inputs that share a scale of 4 bits; what they do not divide stays as it is."""

FLOAT16 = 16
_HALF_STEPS = 2**12
"""Half units in the last place of a float16: 2**11 to 2**12 of them are its value."""


def stored_otherwise(pairs: Pairs, scheme: str) -> list[str]:
    """A sentence for each weight that a file stores in more bits than its scheme has.

    Args:
        pairs: the tensors of a component and the constants that hold them.
        scheme: of the bundle; of one that is not in the tables nothing is said.
    """
    return [
        f"{found.part.name} is stored in more than {bits} bits, {scheme} has no more"
        for found in pairs.values()
        if (bits := _wanted(found.part, scheme)) and _steps(found) > _most(bits, found.constant)
    ]


def _wanted(part: Part, scheme: str) -> int | None:
    """Bits of a weight at most; None where schemes of that name differ, or say nothing of it."""
    shape = part.values.shape
    if part.values.size <= SMALL or not any(name.endswith(".weight") for name in part.parameters):
        return None
    if len(shape) == 4:
        plain = shape[1] > 1 and "output_upscaling" not in part.name
        return CONVOLUTION.get(scheme) if plain else None
    bits = LINEAR.get(scheme) if len(shape) == 2 else None
    if bits is not None and bits < 8 and "mask_decoder" in part.name and "attn" in part.name:
        return 8  # what the decoder attends with: which of it has fewer, differs
    return None if scheme == "w4" and shape[1] % BLOCK else bits


def _most(bits: int, constant: Constant) -> int:
    return _HALF_STEPS if bits >= FLOAT16 and constant.outermost is None else 2**bits


def _steps(found: Found) -> float:
    """How many half steps most values have, or how many entries a palette; infinite of float32."""
    constant = found.constant
    if constant.outermost is not None:
        return max(_entries(found))
    rounding = np.broadcast_to(constant.rounding, constant.values.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.median(np.nan_to_num(np.abs(constant.values) / rounding, posinf=np.inf)))


def _entries(found: Found) -> Iterator[int]:
    """Different values in each output channel."""
    part = found.part
    values = arranged(found.constant.values, part.values.shape, found.order)
    for channel in np.moveaxis(values, part.axis, 0):
        yield len(np.unique(channel))
