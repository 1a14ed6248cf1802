"""Every parameter of the model held against the constants of one exported file."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mobilesam.bundle.contract import Component
from mobilesam.model.sam import MobileSAM
from parity.weight_audit.constants import Constant
from parity.weight_audit.expected import Expected, Part, expected
from parity.weight_audit.layouts import arranged, layouts
from parity.weight_audit.matching import Found, Pairs, match

LARGE = 1024
"""Elements from which a tensor's place among the operations is looked at: that of a small one can
be another's of the same values."""

USUAL = 0.75
"""Share of the weights of one kind of operation that lie alike, from which others are wrong."""


@dataclass(frozen=True)
class Finding:
    """What is wrong with one tensor.

    Attributes:
        part: its name.
        excess: error over what was allowed; infinite where no value was found.
        sentence: what is wrong, in words.
    """

    part: str
    excess: float
    sentence: str


@dataclass(frozen=True)
class Audit:
    """One component's file.

    Attributes:
        total: elements of all parameters that act on the answer.
        found: of those whose constants were found, right or wrong.
        missing: names of the parts that were not found, though they are not zero.
        wrong: those that were found and differ, the worst first.
        excess: the largest error over what was allowed; at most 1 for a right file.
        where: the part with it.
        pairs: each part and the constant that holds it.
    """

    component: Component
    total: int
    found: int
    missing: list[str]
    wrong: list[Finding]
    excess: float
    where: str
    pairs: Pairs


def audit(model: MobileSAM, component: Component, constants: Sequence[Constant]) -> Audit:
    """Hold the constants of a component's file against the model.

    Args:
        model: the reference, in float32, with the bundle's image size.
        component: of the file.
        constants: of the file.
    """
    wanted = expected(model, component)
    parts, pairs = match(wanted.units, constants)
    missing = [part.name for part in parts if part.name not in pairs and not _is_nothing(part)]
    lost = {name for part in parts if part.name in missing for name in part.parameters}
    sizes = {name: size for unit in wanted.units for name, size in unit.parameters.items()}
    measured = [
        (pairs[part.name], *_excess(pairs[part.name])) for part in parts if part.name in pairs
    ]
    wrong = [
        Finding(found.part.name, excess, _sentence(found, channel))
        for found, excess, channel in measured
        if not excess <= 1
    ]
    wrong += _misplaced(wanted, pairs)
    wrong += _turned(pairs)
    worst = max(measured, key=lambda each: _number(each[1]), default=None)
    return Audit(
        component,
        sum(sizes.values()),
        sum(size for name, size in sizes.items() if name not in lost),
        missing,
        sorted(wrong, key=lambda each: -each.excess),
        _number(worst[1]) if worst else 0.0,
        worst[0].part.name if worst else "",
        pairs,
    )


def _number(excess: float) -> float:
    return float("inf") if np.isnan(excess) else excess


def _is_nothing(part: Part) -> bool:
    """Whether a part may be left out of a file: added, it changes nothing."""
    return part.values.ndim == 1 and not np.any(np.abs(part.values) > part.slack)


def _excess(found: Found) -> tuple[float, int]:
    """The largest error over what is allowed, and the channel that it is in."""
    part, constant = found.part, found.constant
    shape = part.values.shape
    values = arranged(constant.values, shape, found.order)
    rounding = np.broadcast_to(constant.rounding, constant.values.shape)
    allowed = arranged(rounding, shape, found.order) + part.slack
    if constant.folded_in_half:
        allowed = allowed + part.half
    error = part.values - values
    over = np.abs(error) / np.maximum(allowed, np.finfo(np.float32).tiny)
    over[error == 0] = 0
    if constant.outermost is not None:
        outer = arranged(constant.outermost, shape, found.order)
        over = _beyond(part.values, values, over, outer)
    worst = int(np.argmax(np.where(np.isnan(over), np.inf, over)))
    place = np.unravel_index(worst, shape)
    return _number(float(over[place])), int(place[part.axis])


def _beyond(
    wanted: np.ndarray, values: np.ndarray, over: np.ndarray, outer: np.ndarray
) -> np.ndarray:
    """Forgive what lies beyond the outermost entries of a palette, which are then the nearest.

    Such an entry must still be the middle of what it stands for, or it could be anything.
    """
    forgiven = np.where((wanted - values) * outer > 0, 0.0, over)
    for side in (-1, 1):
        for entry in np.unique(values[(outer == side) & np.isfinite(values)]):
            chosen = (outer == side) & (values == entry)
            middle = abs(float(wanted[chosen].mean()) - float(entry))
            # Half the distance to the next entry, which is what is allowed of the values.
            reach = np.abs(wanted[chosen] - entry) / np.maximum(over[chosen], 1e-30)
            if middle > np.median(reach):
                forgiven[chosen] = np.maximum(forgiven[chosen], over[chosen])
    return forgiven


def _sentence(found: Found, channel: int) -> str:
    part, constant = found.part, found.constant
    values = np.moveaxis(arranged(constant.values, part.values.shape, found.order), part.axis, 0)
    error = np.abs(np.moveaxis(part.values, part.axis, 0)[channel] - values[channel]).max()
    held = "" if constant.name == part.name else f" ('{constant.name}' in the file)"
    return f"{part.name}{held} differs in channel {channel} by {error:.3g}"


def _misplaced(wanted: Expected, pairs: Pairs) -> Iterator[Finding]:
    """Weights that are read where others should be.

    Either by the order of the operations, in which none comes before what it needs, or by the
    names that the file gives the layers around them.
    """
    held = Counter(id(found.constant) for found in pairs.values())
    # Where equal tensors are stored once, the one constant is in the places of all.
    large = [found for found in pairs.values() if held[id(found.constant)] == 1]
    large = [one for one in large if one.part.values.ndim > 1 and one.part.values.size >= LARGE]
    by_module = {found.part.module: found for found in large if found.part.module}
    for found in large:
        label = found.constant.label
        other = by_module.get(label)
        if other is not None and label != found.part.module:
            if other.part.values.shape == found.part.values.shape:
                text = f"{found.part.name} is read where {other.part.name} should be"
                yield Finding(found.part.name, float("inf"), text)
                continue
        for earlier in wanted.before.get(found.part.module, frozenset()):
            source = by_module.get(earlier)
            if source is None or min(source.constant.place, found.constant.place) < 0:
                continue
            if source.constant.place > found.constant.place:
                text = f"{found.part.name} is read before {source.part.name}, which it needs"
                yield Finding(found.part.name, float("inf"), text)
                break


def _turned(pairs: Pairs) -> Iterator[Finding]:
    """Weights that lie transposed where those of all other operations of the kind do not.

    A square matrix fits its place either way round.
    """
    kinds: defaultdict[tuple[object, ...], list[Found]] = defaultdict(list)
    for found in pairs.values():
        shape = found.part.values.shape
        if found.constant.reader and sum(side > 1 for side in shape) > 1:
            kinds[found.constant.reader, *(side == 1 for side in shape)].append(found)
    for kind in kinds.values():
        ((usual, count),) = Counter(found.order for found in kind).most_common(1)
        if count < USUAL * len(kind):
            continue
        for found in kind:
            shape, constant = found.part.values.shape, found.constant
            if found.order == usual or usual not in layouts(shape, constant.values.shape):
                continue
            if _excess(replace(found, order=usual))[0] > 1:  # one that is symmetric fits as well
                yield Finding(found.part.name, float("inf"), f"{found.part.name} lies transposed")
