"""What each group of layers costs in masks when it alone is quantized, and what it saves."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from converters.contract import COMPONENTS, Component
from converters.plan import Plan
from mixed_precision.trials import Trials
from parity.progress import Progress

TARGET = "tflite"
FLOAT = "float"


@dataclass(frozen=True)
class GroupCost:
    """One group of layers in one precision, all others float32.

    Attributes:
        loss: of mean mask IoU, 0 to 1; noise may make it a little negative.
        saved_bytes: by which the component's file became smaller.
    """

    component: Component
    group: str
    precision: str
    loss: float
    saved_bytes: int


def alone(group: str, precision: str) -> Plan:
    """The plan in which one group is quantized."""
    return Plan(target=TARGET, default=FLOAT, groups={group: precision})


def sensitivity(trials: Trials, precisions: Sequence[str], progress: Progress) -> list[GroupCost]:
    """Each group in each precision by itself, the costliest first.

    Args:
        trials: on the photos to judge by.
        precisions: that need no calibration.
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
                )
            )
    return sorted(found, key=lambda cost: -cost.loss)


def moves(costs: Sequence[GroupCost], ladder: Sequence[str]) -> Iterator[GroupCost]:
    """Steps down the ladder, the least loss for each byte first; of a group always in order.

    Args:
        costs: of every group in every precision of the ladder.
        ladder: precisions, the largest first.
    """
    table: dict[tuple[Component, str], dict[str, GroupCost]] = {}
    for cost in costs:
        table.setdefault((cost.component, cost.group), {})[cost.precision] = cost
    steps: list[tuple[float, GroupCost]] = []
    for rungs in table.values():
        loss, saved, price = 0.0, 0, 0.0
        for precision in ladder:
            cost = rungs[precision]
            more = cost.saved_bytes - saved
            if more <= 0:
                continue
            # A later step is never cheaper than the one it stands on.
            price = max(price, (max(cost.loss, 0.0) - loss) / more)
            steps.append((price, cost))
            loss, saved = max(cost.loss, loss), cost.saved_bytes
    order = {precision: place for place, precision in enumerate(ladder)}
    yield from (cost for _, cost in sorted(steps, key=lambda s: (s[0], order[s[1].precision])))
