"""How near the values inside a float16 program come to an overflow."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from converters.modules import HIDDEN
from mobilesam.runtimes.base import Arrays, BundleRunner
from parity.asking import photo_inputs
from parity.cases import Case
from parity.references import PhotoReference
from parity.schema import CaseMetrics, EncoderMetrics, Headroom, OpRange

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


def op_range(name: str, value: Tensor) -> OpRange:
    """The largest |value| that an op gave, see :func:`largest_of`, and whether it overflowed."""
    largest = largest_of(value)
    overflow: Literal["infinity", "not a number"] | None = None
    if value.is_floating_point() and not bool(torch.isfinite(value).all()):
        overflow = "infinity" if bool(torch.isinf(value).any()) else "not a number"
    elif largest is not None and largest > HALF_MAX:
        overflow = "infinity"  # of a runner that hands values over before they are rounded
    bits = headroom_bits(largest)
    return OpRange(name=name, largest=largest, headroom_bits=bits, overflow=overflow)


class Asked(NamedTuple):
    """What a component is watched on: a photo, and the place of the case the decoder is given."""

    reference: PhotoReference
    case: int = 0


def telling(
    answers: Sequence[PhotoReference],
    encoder: Sequence[EncoderMetrics],
    cases: Sequence[CaseMetrics],
) -> dict[str, Asked]:
    """What shows an overflow, by component: where outputs were not finite, else the first photo.

    Args:
        answers: the photos.
        encoder, cases: what the bundle's outputs were found to be.

    Returns:
        Nothing where no photo was judged.
    """
    judged = {each.image: each.finite for each in encoder}
    photos = [each for each in answers if each.photo.name in judged]
    if not photos:
        return {}
    broken = {(each.image, each.prompt) for each in cases if each.stage == "decoder"} - {
        (each.image, each.prompt) for each in cases if each.stage == "decoder" and each.finite
    }
    decoded = [
        Asked(each, place)
        for each in photos
        for place, case in enumerate(each.cases)
        if (case.image, case.name) in broken
    ]
    encoded = [Asked(each) for each in photos if not judged[each.photo.name]]
    first = Asked(photos[0])
    return {"encoder": (encoded or [first])[0], "decoder": (decoded or [first])[0]}


def measure_headroom(runner: BundleRunner, asked: Mapping[str, Asked]) -> list[Headroom]:
    """The largest values of each op, and which overflow, on one photo and one prompt.

    Args:
        runner: opened.
        asked: by component, see :func:`telling`; the decoder is fed PyTorch's embedding.

    Returns:
        One entry a component; none where the runner cannot look inside, or nothing is float16.
    """
    found = []
    for component in runner.components:
        if component not in asked:
            continue
        reference, place = asked[component]
        case = reference.cases[place]
        ops: list[OpRange] = []

        def note(name: str, value: Tensor, ops: list[OpRange] = ops) -> None:
            ops.append(op_range(name, value))

        prepare = partial(_image if component == "encoder" else _prompt, runner, reference, case)
        if runner.watch_half(component, prepare, note):
            own = Headroom(component=component, image=case.image, prompt=case.name, ops=ops)
            found.append(own)
    return found


def _image(runner: BundleRunner, reference: PhotoReference, _: Case) -> Arrays:
    return photo_inputs(runner, reference.photo.pixels())


def _prompt(runner: BundleRunner, reference: PhotoReference, case: Case) -> Arrays:
    packed = runner.prepare_prompt(case.prompt, case.frame)
    return {"image_embeddings": reference.embedding(), **packed}
