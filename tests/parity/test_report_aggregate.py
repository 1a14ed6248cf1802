"""Aggregates against numpy, and what they leave out."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.report.aggregate import (
    agreement,
    channel_rows,
    mask_row,
    prompt_rows,
    shown_differs,
    spread,
)
from parity.schema import CaseMetrics, MaskMetrics


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200))
def test_spread_is_numpys(values: list[float]) -> None:
    found = spread(values)
    assert found is not None
    expected = [
        len(values),
        np.mean(values),
        np.percentile(values, 5),
        np.min(values),
        np.percentile(values, 95),
        np.max(values),
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-9)


def test_spread_leaves_null_out_but_never_nan() -> None:
    assert spread([]) is None
    assert spread([None, None]) is None
    found = spread([None, 1.0, 3.0])
    assert found is not None and (found.n, found.mean, found.minimum) == (2, 2.0, 1.0)
    broken = spread([1.0, float("nan")])
    assert broken is not None and broken.n == 2
    assert all(math.isnan(value) for value in broken[1:])


def _case(kind: str, stage: str, ious: list[float | None], **more: object) -> CaseMetrics:
    masks = [
        MaskMetrics(
            channel=i,
            mask_iou=iou,
            boundary_iou=iou,
            logit_max_abs_error=1e-3,
            logit_relative_l2=1e-4 * (i + 1),
            iou_prediction_error=-0.01 * (i + 1),
        )
        for i, iou in enumerate(ious)
    ]
    fields = {"chosen_reference": 0, "chosen_export": 0, "shown_iou": ious[0], **more}
    return CaseMetrics.model_validate(
        {
            "image": "photo",
            "prompt": "p",
            "prompt_type": kind,
            "stage": stage,
            "finite": True,
            "degenerate": ious[0] is None,
            "masks": masks,
            **fields,
        }
    )


CASES = [
    _case("point", "end_to_end", [0.9, 1.0, None, 0.8], chosen_export=1),
    _case("point", "decoder", [1.0, 1.0, 1.0, 1.0]),
    _case("box", "end_to_end", [0.7, 0.6, 0.5, 0.4], human_iou_reference=0.5, human_iou_export=0.4),
    _case("box", "end_to_end", [1.0] * 4, human_iou_reference=0.7, human_iou_export=0.8),
]


def test_rows_keep_stages_and_types_apart() -> None:
    point, box, everything = prompt_rows(CASES, "end_to_end")
    assert (point.name, point.cases, point.degenerate) == ("point", 1, 1)
    assert point.mask_iou is not None and point.mask_iou.minimum == 0.8
    assert point.mask_iou.mean == pytest.approx(0.9)
    assert box.cases == 2 and box.mask_iou is not None and box.mask_iou.minimum == 0.4
    assert everything.cases == 3 and everything.agreement == pytest.approx(2 / 3)
    assert [row.name for row in prompt_rows(CASES, "decoder")] == ["point"]


def test_prediction_errors_count_by_size() -> None:
    row = mask_row("all", "end_to_end", CASES)
    assert row.iou_prediction_error is not None
    assert row.iou_prediction_error.maximum == pytest.approx(0.04)


def test_human_masks_are_averaged_side_by_side() -> None:
    row = mask_row("box", "end_to_end", CASES)
    assert row.human_reference == pytest.approx(0.6)
    assert row.human_export == pytest.approx(0.6)
    assert mask_row("point", "decoder", CASES).human_reference is None


def test_channels_are_told_apart() -> None:
    rows = channel_rows(CASES, "end_to_end")
    assert [row.name for row in rows] == ["mask 0", "mask 1", "mask 2", "mask 3"]
    assert [row.degenerate for row in rows] == [0, 0, 1, 0]
    assert rows[3].mask_iou is not None and rows[3].mask_iou.minimum == 0.4


def test_agreement_of_nothing_is_unknown() -> None:
    assert agreement([]) is None


def test_shown_masks_are_summed_up_apart_from_the_four() -> None:
    row = mask_row("all", "end_to_end", CASES)
    assert row.shown_iou is not None and row.shown_iou.minimum == 0.7 and row.shown_iou.n == 3
    assert row.shown_differs == pytest.approx(1 / 3)  # 0.9 itself is the same to the eye
    none = mask_row("all", "end_to_end", [_case("point", "end_to_end", [None] * 4)])
    assert none.shown_iou is None and none.shown_differs is None
    assert shown_differs([_case("point", "decoder", [float("nan")] * 4)]) == 1
