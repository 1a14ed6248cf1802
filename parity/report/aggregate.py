"""Mean, 5th percentile and minimum of many figures, and the selections they are taken over."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from parity.metrics import SAME_TO_THE_EYE
from parity.schema import CaseMetrics, MaskMetrics, Stage


class Spread(NamedTuple):
    """How figures are distributed. Any not-a-number among them makes all but their number one."""

    n: int
    mean: float
    p5: float
    minimum: float
    p95: float
    maximum: float


def spread(values: Iterable[float | None]) -> Spread | None:
    """Summarise figures; null ones (such as the IoU of a degenerate mask) are left out.

    Percentiles interpolate linearly, as numpy's default does. None if nothing is left.
    """
    array = np.array([value for value in values if value is not None], np.float64)
    if not array.size:
        return None
    if np.isnan(array).any():
        return Spread(array.size, *[float("nan")] * 5)
    p5, p95 = np.percentile(array, (5, 95))
    return Spread(
        array.size,
        float(array.mean()),
        float(p5),
        float(array.min()),
        float(p95),
        float(array.max()),
    )


class MaskRow(NamedTuple):
    """Figures of the masks of some cases: a prompt type, a mask channel, or all.

    Attributes:
        name: of the group.
        cases: how many.
        degenerate: how many masks have no IoU.
        agreement: share of cases in which both choose the same mask; None without cases.
        shown_iou: of the masks that the export shows with those that the reference shows.
        shown_differs: share of the cases whose shown masks are seen to differ; None without any.
        human_reference, human_export: mean IoU with human-made masks over the cases that have both.
    """

    name: str
    stage: Stage
    cases: int
    degenerate: int
    mask_iou: Spread | None
    boundary_iou: Spread | None
    logit_relative_l2: Spread | None
    iou_prediction_error: Spread | None
    agreement: float | None
    shown_iou: Spread | None
    shown_differs: float | None
    human_reference: float | None
    human_export: float | None


def mask_row(
    name: str, stage: Stage, cases: Sequence[CaseMetrics], *, channel: int | None = None
) -> MaskRow:
    """Summarise the masks of the cases at a stage, all four channels or one of them."""
    chosen = [case for case in cases if case.stage == stage]
    masks: list[MaskMetrics] = [
        mask for case in chosen for mask in case.masks if channel in (None, mask.channel)
    ]
    human = [
        (case.human_iou_reference, case.human_iou_export)
        for case in chosen
        if case.human_iou_reference is not None and case.human_iou_export is not None
    ]
    reference = spread(pair[0] for pair in human)
    export = spread(pair[1] for pair in human)
    return MaskRow(
        name=name,
        stage=stage,
        cases=len(chosen),
        degenerate=sum(mask.mask_iou is None for mask in masks),
        mask_iou=spread(mask.mask_iou for mask in masks),
        boundary_iou=spread(mask.boundary_iou for mask in masks),
        logit_relative_l2=spread(mask.logit_relative_l2 for mask in masks),
        iou_prediction_error=spread(abs(mask.iou_prediction_error) for mask in masks),
        agreement=agreement(chosen),
        shown_iou=shown_spread(chosen),
        shown_differs=shown_differs(chosen),
        human_reference=reference.mean if reference else None,
        human_export=export.mean if export else None,
    )


def agreement(cases: Sequence[CaseMetrics]) -> float | None:
    """Share of the cases in which export and reference choose the same mask; None without cases."""
    if not cases:
        return None
    return sum(case.chosen_reference == case.chosen_export for case in cases) / len(cases)


def shown_spread(cases: Sequence[CaseMetrics]) -> Spread | None:
    """IoU of the shown masks, those that are degenerate left out."""
    return spread(case.shown_iou for case in cases)


def shown_differs(cases: Sequence[CaseMetrics]) -> float | None:
    """Share of the cases whose shown masks are seen to differ; None where none has an IoU."""
    found = [case.shown_iou for case in cases if case.shown_iou is not None]
    if not found:
        return None
    return sum(not value >= SAME_TO_THE_EYE for value in found) / len(found)


def prompt_rows(cases: Sequence[CaseMetrics], stage: Stage) -> list[MaskRow]:
    """One row a prompt type in the order of first appearance, then one of all if several."""
    kinds = list(dict.fromkeys(case.prompt_type for case in cases if case.stage == stage))
    rows = [
        mask_row(kind, stage, [case for case in cases if case.prompt_type == kind])
        for kind in kinds
    ]
    return rows if len(rows) < 2 else [*rows, mask_row("all prompts", stage, cases)]


def channel_rows(cases: Sequence[CaseMetrics], stage: Stage) -> list[MaskRow]:
    """One row a mask channel."""
    channels = sorted(
        {mask.channel for case in cases if case.stage == stage for mask in case.masks}
    )
    return [mask_row(f"mask {channel}", stage, cases, channel=channel) for channel in channels]
