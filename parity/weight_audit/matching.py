"""Which constant of a file holds which tensor of the model, told by what is in them.

Names are not needed: two tensors of a trained model are never alike, and a damaged constant is
still nearer to its own tensor than any other that is left. Each constant is given to one tensor;
only where the model has two equal tensors may a file store them once.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from parity.weight_audit.constants import Constant
from parity.weight_audit.expected import Part, Unit
from parity.weight_audit.layouts import arranged, layouts

SAMPLE = 1024
"""Elements by which a tensor is recognised; it is then held against all of them."""

UNLIKE = 1.2
"""Relative distance from which a constant is no tensor's: two unrelated ones lie 1.4 apart, one of
zeros 1 from any."""


@dataclass(frozen=True)
class Found:
    """A tensor and the constant that holds it.

    Attributes:
        order: of the tensor's axes, as the constant has them.
    """

    part: Part
    constant: Constant
    order: tuple[int, ...]


@dataclass(frozen=True)
class _Candidate:
    distance: float
    strange: bool
    constant: int
    order: tuple[int, ...]


Pairs = dict[str, Found]
"""What was found, by the name of the part."""


def match(units: Sequence[Unit], constants: Sequence[Constant]) -> tuple[list[Part], Pairs]:
    """The parts that the file should hold, in the forms that it was found to use, and their pairs.

    A part without a pair was not found.
    """
    search = _Search(constants)
    parts = [part for unit in units for part in search.form(unit)]
    return parts, search.assign(parts)


class _Search:
    def __init__(self, constants: Sequence[Constant]) -> None:
        self._constants = constants
        self._by_size: defaultdict[int, list[int]] = defaultdict(list)
        for number, constant in enumerate(constants):
            self._by_size[constant.values.size].append(number)
        self._samples: dict[tuple[int, tuple[int, ...], tuple[int, ...]], np.ndarray] = {}
        self._candidates: dict[tuple[str, int], list[_Candidate]] = {}

    def form(self, unit: Unit) -> tuple[Part, ...]:
        """The form of a unit that the file uses: that whose parts are found best."""
        if len(unit.forms) == 1:
            return unit.forms[0]
        return min(unit.forms, key=self._misfit)

    def _misfit(self, form: Iterable[Part]) -> float:
        return float(np.mean([self._nearest(part) for part in form if np.any(part.values)] or [0]))

    def _nearest(self, part: Part) -> float:
        return min((each.distance for each in self.candidates(part)), default=2.0)

    def candidates(self, part: Part) -> list[_Candidate]:
        """Every constant that could hold a part, and how far it is from it."""
        key = part.name, part.values.size
        if key not in self._candidates:
            wanted = part.values.reshape(-1)[_places(part.values.size)]
            size = float(np.linalg.norm(wanted))
            made = []
            for number in self._by_size[part.values.size]:
                constant = self._constants[number]
                strange = bool(constant.label) and not _is_at(constant.label, part.module)
                for order in layouts(part.values.shape, constant.values.shape):
                    off = self._sample(number, part.values.shape, order) - wanted
                    error = float(np.linalg.norm(off))
                    distance = error / size if size else float(error > 0) * 2
                    if np.isnan(distance):
                        distance = 1.0  # not a number: told from others by what is left
                    if distance < UNLIKE:
                        made.append(_Candidate(distance, strange, number, order))
            self._candidates[key] = made
        return self._candidates[key]

    def assign(self, parts: Sequence[Part]) -> Pairs:
        """The nearest pairs first, each constant once."""
        ranked = sorted(
            ((each, part) for part in parts for each in self.candidates(part)),
            # Among equals that which the file says is in the same layer.
            key=lambda pair: (round(pair[0].distance, 6), pair[0].strange),
        )
        found: Pairs = {}
        taken: dict[int, Part] = {}
        for each, part in ranked:
            if part.name in found:
                continue
            holder = taken.get(each.constant)
            if holder is None or _equal(holder, part):
                taken[each.constant] = part
                found[part.name] = Found(part, self._constants[each.constant], each.order)
        return found

    def _sample(self, number: int, shape: tuple[int, ...], order: tuple[int, ...]) -> np.ndarray:
        key = number, shape, order
        if key not in self._samples:
            values = arranged(self._constants[number].values, shape, order)
            self._samples[key] = values[np.unravel_index(_places(values.size), shape)]
        return self._samples[key]


def _equal(one: Part, other: Part) -> bool:
    return one.values.shape == other.values.shape and np.array_equal(one.values, other.values)


def _is_at(label: str, module: str) -> bool:
    return bool(module) and label.endswith(module)


def _places(size: int) -> np.ndarray:
    """Evenly spread positions, not in step with any side of a tensor."""
    if size <= SAMPLE:
        return np.arange(size)
    return np.unique(np.linspace(0, size - 1, SAMPLE).round().astype(np.int64))
