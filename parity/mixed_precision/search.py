"""The smallest or fastest plan whose masks stay above a floor.

First what single groups cost, then trials of whole plans.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from converters.plan import Plan
from mobilesam.errors import InputError
from mobilesam.progress import Progress
from parity.mixed_precision.sensitivity import (
    TARGET,
    GroupCost,
    moves,
    saved_bytes,
    saved_seconds,
    sensitivity,
)
from parity.mixed_precision.trials import Trial, Trials


class Objective(NamedTuple):
    """What a search makes least.

    Attributes:
        ladder: precisions that a group may be brought to, one after the other.
        gain: what one of them is worth.
    """

    ladder: tuple[str, ...]
    gain: Callable[[GroupCost], float]


OBJECTIVES: Mapping[str, Objective] = MappingProxyType(
    {
        "size": Objective(("w8d", "w4", "w4c"), saved_bytes),
        "latency": Objective(("w8d", "w8a8"), saved_seconds),
    }
)


@dataclass(frozen=True)
class SearchResult:
    """The end of a search.

    Attributes:
        plan: the smallest or fastest that met the floor.
        trial: of it, on the search set.
        costs: of each group alone.
    """

    plan: Plan
    trial: Trial
    costs: list[GroupCost]


def plan_of(steps: Sequence[GroupCost]) -> Plan:
    """Each group as far down the ladder as these steps bring it; the rest float32."""
    groups = {step.group: step.precision for step in steps}
    return Plan(target=TARGET, default="float", groups=groups)


def search(
    trials: Trials,
    floor: float,
    progress: Progress,
    *,
    objective: str = "size",
    max_bytes: int | None = None,
) -> SearchResult:
    """Find the longest run of steps, cheapest first, that keeps the mean mask IoU.

    What groups cost alone gives the order; how many steps are taken is decided by trials of whole
    plans, halving the interval, then one step at a time past the first that failed.

    Args:
        trials: on the search set.
        floor: of the mean mask IoU, 0 to 1.
        progress: where to show it.
        objective: of :data:`OBJECTIVES`; trials must be timed for ``latency``.
        max_bytes: of both files together.

    Raises:
        InputError: no plan meets the floor, or none that does is small enough.
    """
    ladder, gain = OBJECTIVES[objective]
    costs = sensitivity(trials, ladder, progress)
    steps = list(moves(costs, ladder, gain))
    low, high = 0, len(steps)
    with progress.task("whole plans", high.bit_length()) as step:
        while low < high:
            half = (low + high + 1) // 2
            step(f"{half} of {len(steps)} steps")
            if trials.try_plan(plan_of(steps[:half])).miou >= floor:
                low = half
            else:
                high = half - 1
    taken = _stretched(trials, steps, low, floor, progress)
    plan = plan_of(taken)
    trial = trials.try_plan(plan)
    if trial.miou < floor:
        raise InputError(
            f"no plan keeps a mean mask IoU of {floor}: float32 files have {trial.miou:.4f} on "
            "these photos, ask for less"
        )
    if max_bytes is not None and trial.size_bytes > max_bytes:
        raise InputError(
            f"the best plan with a mean mask IoU of {floor} takes "
            f"{trial.size_bytes / 1e6:.2f} MB, more than {max_bytes / 1e6:.2f}: ask for a lower "
            "floor or more room"
        )
    return SearchResult(plan, trial, costs)


def _stretched(
    trials: Trials, steps: Sequence[GroupCost], count: int, floor: float, progress: Progress
) -> list[GroupCost]:
    """The first steps, and of those after them each that the floor still bears, in turn."""
    taken = list(steps[:count])
    missed = 0
    rest = steps[count:]
    with progress.task("further steps", len(rest)) as step:
        for each in rest:
            step(f"{each.group} in {each.precision}")
            if missed == PATIENCE:
                break
            if trials.try_plan(plan_of([*taken, each])).miou >= floor:
                taken.append(each)
            else:
                missed += 1
    return taken


PATIENCE = 6
"""Further steps that may fail before the search ends: later ones cost ever more."""
