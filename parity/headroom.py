"""How near the values inside a float16 program come to an overflow."""

import math

import torch
from torch import Tensor

from converters.modules import HIDDEN
from mobilesam.runtimes.base import Arrays, BundleRunner
from parity.references import PhotoReference
from parity.schema import Headroom, OpRange

HALF_MAX = 65504.0
"""The largest float16."""

_HIDDEN_FROM = -HIDDEN * 0.99


def headroom_bits(largest: float | None) -> float | None:
    """How many times a value can double before float16 overflows; negative where it does."""
    return math.log2(HALF_MAX / largest) if largest else None


def largest_of(value: Tensor) -> float | None:
    """The largest |value| but for hidden scores; None of integers, or where one is not finite.

    The score of an unused slot is :data:`converters.modules.HIDDEN` by design, whatever the input,
    give or take the score itself: that says nothing of how near the model comes to an overflow.
    """
    if not value.is_floating_point() or not value.numel():
        return None
    size = value.abs()
    found = float(size.max())
    if found >= _HIDDEN_FROM:
        found = float(torch.where((value - HIDDEN).abs() <= -HIDDEN / 16, 0.0, size).max())
    return found if math.isfinite(found) else None


def measure_headroom(runner: BundleRunner, reference: PhotoReference) -> list[Headroom]:
    """The largest values of each op on one photo with its first prompt.

    Args:
        runner: opened, with both components.
        reference: the photo; the decoder is fed PyTorch's embedding.

    Returns:
        One entry a component; none where the runner cannot look inside, or nothing is float16.
    """
    case = reference.cases[0]

    def image() -> Arrays:
        return runner.prepare_image(reference.photo.pixels())

    def prompt() -> Arrays:
        packed = runner.prepare_prompt(case.prompt, case.frame)
        return {"image_embeddings": reference.embedding(), **packed}

    found = []
    for component in runner.components:
        ops: list[OpRange] = []

        def note(name: str, value: Tensor, ops: list[OpRange] = ops) -> None:
            largest = largest_of(value)
            ops.append(OpRange(name=name, largest=largest, headroom_bits=headroom_bits(largest)))

        if runner.watch_half(component, image if component == "encoder" else prompt, note):
            found.append(Headroom(component=component, image=case.image, ops=ops))
    return found
