"""The scales and zero points of one file held against the ranges of its calibration."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from parity.activation_audit.activation import Activation, Layer
from parity.weight_audit.expected import Part
from parity.weight_audit.matching import Pairs

TOLERANCE = 0.02
"""Of a range's width, by which either end may be off: five steps of an int8. A right file is off by
half a step of its zero point; Core ML's and other runtimes' float arithmetic adds little to it."""

SYMMETRIC = 2**15 - 1
"""From this greatest integer on zero is in the middle, as TFLite's int16 has it."""

LEAST_STEP = 2.0**-12
"""XNNPACK's least scale: what has a narrower range gets it, from the low end on."""

HALF_STEP = 2.0**-25
"""Rounding error of the smallest scales that Core ML holds, in float16."""

Ranges = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Held:
    """One component's activations.

    Attributes:
        total: scales in the file.
        held: of those for which the calibration has a range.
        loose: names of the others.
        wrong: a sentence for each that is not the range's, the worst first.
        excess: the largest error over what is allowed; at most 1 for a right file.
        where: the place in the model that has it.
    """

    total: int
    held: int
    loose: list[str]
    wrong: list[str]
    excess: float
    where: str


def hold(activations: Iterable[Activation], pairs: Pairs, ranges: Ranges) -> Held:
    """Hold what a file rounds with against what the calibration saw.

    Args:
        activations: of the file.
        pairs: the model's tensors and the file's constants, which tell the layers of a file.
        ranges: low and high by place, as the manifest has them.
    """
    parts: defaultdict[str, list[Part]] = defaultdict(list)
    for found in pairs.values():
        parts[found.constant.name].append(found.part)
    measured: list[tuple[float, str, str]] = []
    loose = []
    total = 0
    for activation in activations:
        total += 1
        errors = [
            (_error(activation, layer, ranges[place]), place)
            for layer in activation.layers
            for part in parts[layer.weight]
            if (place := _place(layer, part, ranges)) in ranges
        ]
        if not errors:
            loose.append(activation.name)
            continue
        # Layers that share a scale agree, but for slices, whose range may be narrower.
        error, place = min(errors)
        measured.append((error, place, _sentence(activation, place, ranges[place])))
    measured.sort(reverse=True)
    return Held(
        total,
        len(measured),
        loose,
        [sentence for error, _, sentence in measured if not error <= 1],
        measured[0][0] if measured else 0.0,
        measured[0][1] if measured else "",
    )


def _place(layer: Layer, part: Part, ranges: Ranges) -> str:
    """What the manifest calls the values beside a layer.

    A layer that a norm's scale is folded into reads what comes before that scale.
    """
    if layer.side == "input":
        for place in _norms(part):
            if place in ranges:
                return place
    return f"{part.module or part.name} {layer.side}"


def _norms(part: Part) -> Iterator[str]:
    for name in part.parameters:
        module, _, own = name.rpartition(".")
        if own == "weight" and module != part.module:
            yield f"{module} normalized"


def _error(activation: Activation, layer: Layer, wanted: tuple[float, float]) -> float:
    """How far the ends lie from the wanted ones, over what is allowed."""
    low, high = (0.0 if layer.clamped else min(wanted[0], 0.0)), max(wanted[1], 0.0)
    if low == high:  # zeros, which any scale holds
        return 0.0
    least, greatest = activation.bounds
    if greatest >= SYMMETRIC:
        if activation.zero_point != 0:
            return float("inf")
        low, high = min(low, -high), max(-low, high)
        return _off(activation, low, high, 0.0)
    error = _off(activation, low, high, HALF_STEP * (greatest - least))
    if high - low < LEAST_STEP * (greatest - least):
        widened = low + LEAST_STEP * (greatest - least)
        error = min(error, _off(activation, low, widened, 0.0))
    return error


def _off(activation: Activation, low: float, high: float, slack: float) -> float:
    off = max(abs(activation.low - low), abs(activation.high - high))
    return off / (TOLERANCE * (high - low) + slack)


def _sentence(activation: Activation, place: str, wanted: tuple[float, float]) -> str:
    return (
        f"the scale and zero point of the {place} ('{activation.name}' in the file) stand for "
        f"{activation.low:.3g} to {activation.high:.3g}, calibration asks for "
        f"{wanted[0]:.3g} to {wanted[1]:.3g}"
    )
