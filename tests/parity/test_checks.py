"""Thresholds applied: what is not a number or not there never passes, and ties may flip."""

import math

import pytest

from parity.checks import MeasuredValue, at_least, at_most, checks, reasons
from parity.findings import Findings
from parity.schema import CaseMetrics, EncoderMetrics, MaskMetrics, Stage
from parity.thresholds import Row, Thresholds

ROW = Thresholds().row("tflite", "fp32")


def _case(stage: Stage, kind: str = "box", **changes: float | None) -> CaseMetrics:
    mask = {
        "mask_iou": 1.0,
        "boundary_iou": 1.0,
        "logit_max_abs_error": 0.0,
        "logit_relative_l2": 0.0,
        "iou_prediction_error": 0.0,
    } | changes
    return CaseMetrics(
        image="cup",
        prompt=kind,
        prompt_type=kind,
        stage=stage,
        finite=True,
        degenerate=False,
        masks=[MaskMetrics.model_validate({"channel": i} | mask) for i in range(4)],
        chosen_reference=0,
        chosen_export=0,
        shown_iou=mask["mask_iou"],
    )


def _findings() -> Findings:
    encoder = EncoderMetrics(
        image="cup",
        finite=True,
        max_abs_error=0,
        relative_l2=0,
        channel_relative_l2=0,
        cosine=1,
        psnr_db=None,
    )
    stages: tuple[Stage, ...] = ("decoder", "end_to_end")
    return Findings(
        encoder=[encoder],
        cases=[_case(stage) for stage in stages],
        spreads=[(stage, "cup", 1.0) for stage in ("encoder", *stages)],
    )


def _failed(findings: Findings) -> set[tuple[str, str]]:
    return {(check.stage, check.metric) for check in checks(findings, ROW) if not check.passed}


def test_a_perfect_export_passes_though_its_psnr_is_infinite() -> None:
    assert _failed(_findings()) == set()


def test_nothing_measured_fails_every_check() -> None:
    made = checks(Findings(), ROW)
    assert not any(check.passed for check in made)
    assert len(reasons(made)) == len(made)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_single_value_that_is_not_a_number_fails(value: float) -> None:
    samples = [
        MeasuredValue(0.0, "a", "a"),
        MeasuredValue(value, "b", "b"),
        MeasuredValue(0.0, "c", "c"),
    ]
    check = at_most("metric", "encoder", samples, 1.0)
    assert not check.passed and check.where == "b"
    assert check.value is None or check.value == math.inf


def test_a_nan_fails_a_lower_limit_too() -> None:
    samples = [MeasuredValue(1.0, "a", "a"), MeasuredValue(math.nan, "b", "b")]
    check = at_least("metric", "encoder", samples, 0.5)
    assert not check.passed and check.value is None and check.where == "b"


def test_the_worst_place_and_every_failing_group_are_named() -> None:
    samples = [MeasuredValue(3.0, "x, mask 1", "box"), MeasuredValue(9.0, "y, mask 2", "one_point")]
    samples.append(MeasuredValue(0.0, "z", "border_point"))
    check = at_most("metric", "decoder", samples, 1.0)
    assert check.value == 9 and check.where == "y, mask 2; fails for box, one_point"
    (reason,) = reasons([check])
    assert reason == "decoder metric: 9, wanted <= 1 (y, mask 2; fails for box, one_point)"


@pytest.mark.parametrize(
    ("value", "limit", "sentence"),
    [
        (0.99999985, 0.9999999, "encoder cosine: 0.9999998, wanted >= 0.9999999 (cup)"),
        (1 - 1e-9, 1.0, "encoder cosine: 0.9999999, wanted >= 1 (cup)"),
        (0.989951, 0.98996, "encoder cosine: 0.98995, wanted >= 0.98996 (cup)"),
        (0.5, 0.99, "encoder cosine: 0.5, wanted >= 0.99 (cup)"),
        (math.nan, 0.99, "encoder cosine: no value, wanted >= 0.99 (cup)"),
    ],
)
def test_a_reason_shows_in_what_the_value_misses(value: float, limit: float, sentence: str) -> None:
    check = at_least("cosine", "encoder", [MeasuredValue(value, "cup", "cup")], limit)
    assert reasons([check]) == [sentence]


def test_a_reason_shows_in_what_the_value_exceeds() -> None:
    check = at_most("relative_l2", "encoder", [MeasuredValue(1.00000004e-4, "cup", "cup")], 1e-4)
    assert reasons([check]) == ["encoder relative_l2: 0.000100000004, wanted <= 0.0001 (cup)"]


def test_one_wrong_mask_does_not_hide_among_right_ones() -> None:
    findings = _findings()
    findings.cases[0].masks[2].logit_relative_l2 = 1.0
    assert _failed(findings) == {("decoder", "logits_relative_l2")}
    findings = _findings()
    findings.cases[1].masks[3].mask_iou = 0.5
    assert ("end_to_end", "mask_iou_min") in _failed(findings)


def test_degenerate_masks_only_are_nothing_to_judge_by() -> None:
    findings = _findings()
    stages: tuple[Stage, ...] = ("decoder", "end_to_end")
    findings.cases = [_case(stage, mask_iou=None, boundary_iou=None) for stage in stages]
    assert ("end_to_end", "mask_iou_min") in _failed(findings)
    check = next(c for c in checks(findings, ROW) if c.metric == "mask_iou_min")
    assert check.value is None and check.where == "nothing to judge by"


def _shown(ious: list[float | None], row: Row, kind: str = "one_point") -> set[str]:
    """Metrics that fail where the decoder's shown masks have these IoUs, among 30 equal ones."""
    findings = _findings()
    equal = [_case("decoder") for _ in range(30)]
    own = [_case("decoder", kind).model_copy(update={"shown_iou": iou}) for iou in ious]
    findings.cases = [*equal, *own, _case("end_to_end")]
    return {check.metric for check in checks(findings, row) if not check.passed}


def test_another_mask_may_be_chosen_where_the_two_are_nearly_equal() -> None:
    assert _shown([1.0, 0.99999, 0.99999], ROW) == set()


def test_one_tie_may_fall_the_other_way_unless_the_file_computes_in_float32() -> None:
    half = Thresholds().row("tflite", "fp16")
    assert _shown([1.0, 0.4, 1.0], half) == set()
    assert _shown([1.0, 0.4, 1.0], ROW) == {"shown_iou_mean"}


def test_other_masks_for_one_kind_of_prompt_do_not_hide_among_the_rest() -> None:
    coarse = Thresholds().row("coreml", "p4")
    assert "shown_iou_type_mean" in _shown([1.0, 0.4, 0.4, 0.4], coarse)
    assert "shown_iou_type_mean" not in _shown([1.0, 1.0, 0.4, 1.0], coarse)


def test_a_kind_of_prompt_with_worse_masks_does_not_hide_among_the_rest() -> None:
    coarse = Thresholds().row("coreml", "p4")
    findings = _findings()
    asked = coarse.decoder.prompt_types["mask_only"].prompt_type_iou_mean
    wrong = [_case("decoder", "mask_only", mask_iou=0.9 * asked) for _ in range(2)]
    findings.cases = [*(_case("decoder") for _ in range(30)), *wrong, _case("end_to_end")]
    made = {c.metric: c for c in checks(findings, coarse) if c.stage == "decoder"}
    assert made["mask_iou_mean"].passed and made["mask_iou_min"].passed
    failed = made["mask_iou_type_mean"]
    assert not failed.passed and failed.where == "mask_only, mean over 8; fails for mask_only"


def test_a_mean_of_fewer_masks_than_a_case_has_may_be_off_further() -> None:
    coarse = Thresholds().row("onnx", "w8")
    limit = coarse.decoder.prompt_types["negative_points"].prompt_type_iou_mean

    def passed(masks: int, short: float) -> bool:
        case = _case("decoder", "negative_points", mask_iou=1 - short * (1 - limit))
        case.masks = case.masks[:masks]
        findings = _findings()
        findings.cases.append(case)
        made = [c for c in checks(findings, coarse) if c.stage == "decoder"]
        return all(c.passed for c in made if c.metric == "mask_iou_type_mean")

    assert passed(4, 0.9) and not passed(4, 1.1)
    assert passed(2, 1.1) and passed(2, 1.4) and not passed(2, 1.6)


def test_logits_of_background_points_alone_have_a_limit_of_their_own() -> None:
    coarse = Thresholds().row("coreml", "p4")
    own = coarse.decoder.prompt_types["negative_points"].logits_relative_l2
    assert own > coarse.decoder.logits_relative_l2
    for kind, error, passes in (
        ("negative_points", own * 0.9, True),
        ("negative_points", own * 1.1, False),
        ("box", own * 0.9, False),
    ):
        findings = _findings()
        findings.cases.append(_case("decoder", kind, logit_relative_l2=error))
        made = [c for c in checks(findings, coarse) if c.stage == "decoder"]
        found = [c.passed for c in made if c.metric == "logits_relative_l2"]
        assert all(found) is passes, (kind, error)


def test_masks_that_both_sides_leave_empty_are_not_compared() -> None:
    assert _shown([None, None], ROW) == set()


@pytest.mark.parametrize(
    ("ious", "expected"),
    [
        ([0.5], 0.5),
        ([0.5, 0.97], 0.97),
        ([0.97, 0.5, *[1.0] * 9], 0.97),
        ([0.5, 0.6, *[1.0] * 18], 0.6),
        ([0.5, 0.6, *[1.0] * 19], 0.6),
        ([*[0.5] * 3, *[1.0] * 38], 0.5),
    ],
)
def test_a_percentile_of_few_masks_is_the_second_worst(ious: list[float], expected: float) -> None:
    findings = _findings()
    findings.cases += [_case("decoder", mask_iou=each) for each in ious]
    findings.cases = [case for case in findings.cases if case.stage == "decoder"][1:]
    (found,) = [
        check.value
        for check in checks(findings, ROW)
        if check.metric == "shown_iou_p5" and check.stage == "decoder"
    ]
    assert found == pytest.approx(expected)
