"""What each group of layers costs in masks when it alone is quantized, and what it saves."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from converters.plan import Plan
from mobilesam.bundle.contract import COMPONENTS, Component
from mobilesam.progress import Progress
from parity.mixed_precision.trials import Trials

TARGET = "tflite"
FLOAT = "float"


@dataclass(frozen=True)
class GroupCost:
    """One group of layers in one precision, all others float32.

    Attributes:
        loss: of mean mask IoU, 0 to 1; noise may make it a little negative.
        saved_bytes: by which the component's file became smaller.
        saved_s: by which it became faster; None if it was not timed.
    """

    component: Component
    group: str
    precision: str
    loss: float
    saved_bytes: int
    saved_s: float | None = None


def alone(group: str, precision: str) -> Plan:
    """The plan in which one group is quantized."""
    return Plan(target=TARGET, default=FLOAT, groups={group: precision})


def sensitivity(trials: Trials, precisions: Sequence[str], progress: Progress) -> list[GroupCost]:
    """Each group in each precision by itself, the costliest first.

    Args:
        trials: on the photos to judge by.
        precisions: to try each in.
        progress: where to show it.
    """
    plan = Plan(target=TARGET, default=FLOAT)
    turns = [
        (component, group, precision)
        for component in COMPONENTS
        for group in trials.groups[component]
        for precision in precisions
    ]
    found = []
    with progress.task("groups alone", len(turns) + len(COMPONENTS)) as step:
        whole = {}
        for component in COMPONENTS:
            step(f"{component} in float32")
            whole[component] = trials.try_plan(plan, (component,))
        for component, group, precision in turns:
            step(f"{group} in {precision}")
            trial = trials.try_plan(alone(group, precision), (component,))
            before = whole[component]
            found.append(
                GroupCost(
                    component=component,
                    group=group,
                    precision=precision,
                    loss=before.miou - trial.miou,
                    saved_bytes=before.size_bytes - trial.size_bytes,
                    saved_s=_less(before.seconds, trial.seconds),
                )
            )
    return sorted(found, key=lambda cost: -cost.loss)


def _less(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else before - after


def saved_bytes(cost: GroupCost) -> float:
    """What a search for the smallest plan gains."""
    return cost.saved_bytes


def saved_seconds(cost: GroupCost) -> float:
    """What a search for the fastest plan gains."""
    return cost.saved_s or 0.0


def moves(
    costs: Sequence[GroupCost],
    ladder: Sequence[str],
    gain: Callable[[GroupCost], float] = saved_bytes,
) -> Iterator[GroupCost]:
    """Steps down the ladder, the least loss for each gain first; of a group always in order.

    Args:
        costs: of every group in every precision of the ladder.
        ladder: precisions, the largest or slowest first.
        gain: what a precision of a group is worth; a step that gains nothing is left out.
    """
    table: dict[tuple[Component, str], dict[str, GroupCost]] = {}
    for cost in costs:
        table.setdefault((cost.component, cost.group), {})[cost.precision] = cost
    steps: list[tuple[float, GroupCost]] = []
    for rungs in table.values():
        loss, saved, price = 0.0, 0.0, 0.0
        for precision in ladder:
            cost = rungs[precision]
            more = gain(cost) - saved
            if more <= 0:
                continue
            # A later step is never cheaper than the one it stands on.
            price = max(price, (max(cost.loss, 0.0) - loss) / more)
            steps.append((price, cost))
            loss, saved = max(cost.loss, loss), gain(cost)
    order = {precision: place for place, precision in enumerate(ladder)}
    yield from (cost for _, cost in sorted(steps, key=lambda s: (s[0], order[s[1].precision])))
