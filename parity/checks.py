"""Findings held against a row of thresholds: the checks, and the reasons when one fails.

Every comparison is written so that a value that is not a number fails it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from parity.findings import Findings
from parity.metrics import SAME_TO_THE_EYE
from parity.report.figures import exact, limit
from parity.schema import CaseMetrics, Check, MaskMetrics, Stage
from parity.thresholds import MaskLimits, Row

MIN_SPREAD = 0.1
"""An output whose standard deviation falls below this share of the reference's is a constant."""

UPSCALING = 1e-3
"""Relative L2 of a file's logits at the photo's size from its own low-res logits, brought there.
Float32 in every scheme: measured 5.1e-7; an eighth of a low-res pixel is 1e-2."""

DISAGREEMENT = 1e-2
"""Over the root mean square, a logit of which a file may say another side than its mask. Graphs
scale in float32 or float16, whose sums differ by 2**-11 of the largest."""

FEW_SHOWN = 20
"""Masks up to which a 5th percentile lies between the worst and the next."""

MASKS_OF_A_CASE = 4
ROOM_OF_FEW = 1.5
"""How much further from one a mean of fewer masks than a case has may be. At 1024 ONNX's `w8` gave
0.86 to 0.97 for single cases of background points, and 0.94 over eleven."""

QUOTED = 3
"""Sentences that a check quotes."""

MASK_STAGES: tuple[Stage, ...] = ("decoder", "end_to_end")


@dataclass(frozen=True)
class MeasuredValue:
    """One value of a metric, the place it was measured at, and what group it belongs to."""

    value: float
    where: str
    group: str


def checks(findings: Findings, row: Row) -> list[Check]:
    """Every threshold of a row applied to everything measured."""
    made = _encoder_checks(findings, row)
    for stage in MASK_STAGES:
        limits = row.decoder if stage == "decoder" else row.end_to_end
        made += _mask_checks(findings, stage, limits)
    return made


def reasons(made: Sequence[Check]) -> list[str]:
    """One sentence for each check that failed."""
    return [_reason(check) for check in made if not check.passed]


def _reason(check: Check) -> str:
    stage = check.stage.replace("_", " ")
    value = "no value" if check.value is None else exact(check.value, check.threshold)
    place = f" ({check.where})" if check.where else ""
    wanted = f"{check.comparison} {limit(check.threshold)}"
    return f"{stage} {check.metric}: {value}, wanted {wanted}{place}"


def _encoder_checks(findings: Findings, row: Row) -> list[Check]:
    def samples(value: Callable[..., float | None]) -> list[MeasuredValue]:
        values = [(metric, value(metric)) for metric in findings.encoder]
        return [MeasuredValue(v, m.image, m.image) for m, v in values if v is not None]

    limits = row.encoder
    # Equal embeddings have no PSNR: it is infinite, and left out.
    psnr = samples(lambda m: m.psnr_db)
    made = [
        _all_finite("encoder", [(m.finite, m.image, m.image) for m in findings.encoder]),
        _spread(findings, "encoder"),
        at_most("relative_l2", "encoder", samples(lambda m: m.relative_l2), limits.relative_l2),
        at_most(
            "channel_relative_l2",
            "encoder",
            samples(lambda m: m.channel_relative_l2),
            limits.channel_relative_l2,
        ),
        at_least("cosine", "encoder", samples(lambda m: m.cosine), limits.cosine),
    ]
    return [*made, at_least("psnr_db", "encoder", psnr, limits.psnr_db)] if psnr else made


def _mask_checks(findings: Findings, stage: Stage, limits: MaskLimits) -> list[Check]:
    cases = [case for case in findings.cases if case.stage == stage]

    def samples(value: Callable[[MaskMetrics], float | None]) -> list[MeasuredValue]:
        return [
            MeasuredValue(v, f"{_where(case)}, mask {mask.channel}", case.prompt_type)
            for case in cases
            for mask in case.masks
            if (v := value(mask)) is not None
        ]

    def per_case(value: Callable[[MaskMetrics], float]) -> list[MeasuredValue]:
        # A permutation of channels must not hide among three that are right.
        return [
            MeasuredValue(
                worst([value(mask) for mask in case.masks]), _where(case), case.prompt_type
            )
            for case in cases
        ]

    mask_iou = samples(lambda m: m.mask_iou)
    own = limits.prompt_types
    type_means: dict[str, float] = {"": limits.prompt_type_iou_mean}
    type_means |= {kind: row.prompt_type_iou_mean for kind, row in own.items()}
    return [
        _all_finite(stage, [(case.finite, _where(case), case.prompt_type) for case in cases]),
        _spread(findings, stage),
        *_by_type(
            "logits_relative_l2",
            stage,
            per_case(lambda m: m.logit_relative_l2),
            {"": limits.logits_relative_l2, **{k: v.logits_relative_l2 for k, v in own.items()}},
            at_most,
        ),
        *_by_type(
            "mask_iou_min",
            stage,
            mask_iou,
            {"": limits.mask_iou_min, **{k: v.mask_iou_min for k, v in own.items()}},
            at_least,
        ),
        _mean_at_least("mask_iou_mean", stage, mask_iou, limits.mask_iou_mean),
        _mean_at_least(
            "boundary_iou_mean",
            stage,
            samples(lambda m: m.boundary_iou),
            limits.boundary_iou_mean,
        ),
        *_by_type("mask_iou_type_mean", stage, mask_iou, type_means, _worst_mean_at_least),
        at_most(
            "iou_prediction",
            stage,
            per_case(lambda m: m.iou_prediction_error),
            limits.iou_prediction,
        ),
        *_shown_checks(cases, stage, limits, type_means),
        *_upscaling(cases, stage),
    ]


def at_most(metric: str, stage: Stage, samples: Sequence[MeasuredValue], limit: float) -> Check:
    """The largest value must be at most the limit; no samples, or a NaN, is a failure."""
    if not samples:
        return _unmeasured(metric, stage, "<=", limit)
    most = worst([s.value for s in samples])
    failing = [s for s in samples if not s.value <= limit]
    where = _place(samples, most, failing)
    return _check(metric, stage, most, "<=", limit, not failing, where)


def at_least(metric: str, stage: Stage, samples: Sequence[MeasuredValue], limit: float) -> Check:
    """The smallest value must be at least the limit; no samples, or a NaN, is a failure."""
    if not samples:
        return _unmeasured(metric, stage, ">=", limit)
    least = float(np.min([s.value for s in samples]))
    failing = [s for s in samples if not s.value >= limit]
    where = _place(samples, least, failing)
    return _check(metric, stage, least, ">=", limit, not failing, where)


def equality(metric: str, stage: Stage, value: float, wanted: float, where: str = "") -> Check:
    """The value must be exactly what is wanted."""
    return _check(metric, stage, float(value), "==", wanted, value == wanted, where)


def none_wrong(metric: str, component: str, sentences: Sequence[str]) -> Check:
    """No sentence may say that something in a component's file is wrong; a few are quoted."""
    listed = "; ".join(sentences[:QUOTED])
    more = f"; and {len(sentences) - QUOTED} more" if len(sentences) > QUOTED else ""
    where = f"{component}: {listed}{more}" if sentences else ""
    return equality(metric, "integrity", len(sentences), 0, where)


def worst(values: Iterable[float]) -> float:
    """The largest; NaN if any is NaN."""
    return float(np.max(list(values)))


def _mean_at_least(
    metric: str, stage: Stage, samples: Sequence[MeasuredValue], limit: float
) -> Check:
    if not samples:
        return _unmeasured(metric, stage, ">=", limit)
    mean = float(np.mean([s.value for s in samples]))
    return _check(metric, stage, mean, ">=", limit, mean >= limit, f"over {len(samples)} masks")


def _worst_mean_at_least(
    metric: str, stage: Stage, samples: Sequence[MeasuredValue], limit: float, *, spare: int = 0
) -> Check:
    """The mean of every group must be at least the limit, or a kind of prompt could hide.

    A mean of fewer values than a case has masks, as where a kind is asked once and some of its
    masks are degenerate, may be off by half as much again.

    Args:
        metric, stage, samples, limit: as of :func:`at_least`.
        spare: so many of each group's lowest values do not count; few then have no more room.
    """
    if not samples:
        return _unmeasured(metric, stage, ">=", limit)
    means: dict[float, list[MeasuredValue]] = {}
    for group in dict.fromkeys(sample.group for sample in samples):
        values = sorted((s.value for s in samples if s.group == group), key=_nan_first)[spare:]
        if values:
            title = f"{group}, mean over {len(values)}"
            few = len(values) < MASKS_OF_A_CASE and not spare
            own = 1 - ROOM_OF_FEW * (1 - limit) if few else limit
            mean = MeasuredValue(float(np.mean(values)), title, group)
            means.setdefault(own, []).append(mean)
    if not means:
        return _check(metric, stage, 1.0, ">=", limit, True, "one case of each kind")
    made = [at_least(metric, stage, of_limit, own) for own, of_limit in means.items()]
    return min(made, key=_margin)


def _margin(check: Check) -> float:
    """By how much a value is above its limit; what is not a number is furthest below."""
    return float("-inf") if check.value is None else check.value - check.threshold


def _by_type(
    metric: str,
    stage: Stage,
    samples: Sequence[MeasuredValue],
    limits: Mapping[str, float],
    check: Callable[[str, Stage, Sequence[MeasuredValue], float], Check],
) -> list[Check]:
    """A check of all kinds of prompts but those that have a limit of their own, and one of each.

    Args:
        limits: by prompt type; under the empty name that of all others.
        check: made of the metric, stage, values and limit.
    """
    others = [sample for sample in samples if sample.group not in limits]
    made = [check(metric, stage, others, limits[""])]
    for kind, of_kind in limits.items():
        own = [sample for sample in samples if sample.group == kind]
        if own:
            made.append(check(metric, stage, own, of_kind))
    return made


def _shown_checks(
    cases: Sequence[CaseMetrics],
    stage: Stage,
    limits: MaskLimits,
    type_means: Mapping[str, float],
) -> list[Check]:
    """The masks that a user sees: what the export shows against what the reference shows."""
    shown = [
        MeasuredValue(case.shown_iou, _where(case), case.prompt_type)
        for case in cases
        if case.shown_iou is not None
    ]
    values = [sample.value for sample in shown]
    if not values:
        # Where every case is degenerate on both sides, the masks' own checks have failed already.
        return [_unmeasured("shown_iou_mean", stage, ">=", limits.shown_iou_mean)]
    p5 = _fifth_percentile(values)
    differing = [sample for sample in shown if not sample.value >= SAME_TO_THE_EYE]
    # One case may differ in any run: two masks may be as good to PyTorch as to the export.
    share = max(0, len(differing) - 1) / len(shown)
    where = "; ".join(sample.where for sample in differing[:3])
    over = f"over {len(shown)} masks"
    return [
        _mean_at_least("shown_iou_mean", stage, shown, limits.shown_iou_mean),
        _check(
            "shown_iou_p5", stage, p5, ">=", limits.shown_iou_p5, p5 >= limits.shown_iou_p5, over
        ),
        *_by_type(
            "shown_iou_type_mean",
            stage,
            shown,
            type_means,
            partial(_worst_mean_at_least, spare=1),
        ),
        _check(
            "shown_differs",
            stage,
            share,
            "<=",
            limits.shown_differs,
            share <= limits.shown_differs,
            where,
        ),
    ]


def _fifth_percentile(values: Sequence[float]) -> float:
    """The 5th percentile; of 20 values or fewer, of which it would be the worst's part, the next.

    One mask may be off in any run, as in ``shown_differs``; how far, ``mask_iou_min`` says.
    """
    ordered = sorted(values)
    if 1 < len(ordered) <= FEW_SHOWN:
        return ordered[1]
    return float(np.percentile(ordered, 5))


def _upscaling(cases: Sequence[CaseMetrics], stage: Stage) -> list[Check]:
    """How a file brings its logits to the photo's size or the frame's, where it does so itself."""
    errors = [
        MeasuredValue(case.upscaling_relative_l2, _where(case), case.image)
        for case in cases
        if case.upscaling_relative_l2 is not None
    ]
    said = [
        MeasuredValue(case.mask_disagreement, _where(case), case.image)
        for case in cases
        if case.mask_disagreement is not None
    ]
    return [
        *([at_most("upscaling", stage, errors, UPSCALING)] if errors else []),
        *([at_most("mask_disagreement", stage, said, DISAGREEMENT)] if said else []),
    ]


def _all_finite(stage: Stage, rows: Sequence[tuple[bool, str, str]]) -> Check:
    samples = [MeasuredValue(float(finite), where, group) for finite, where, group in rows]
    return at_least("finite", stage, samples, 1.0)


def _spread(findings: Findings, stage: Stage) -> Check:
    samples = [MeasuredValue(v, where, where) for s, where, v in findings.spreads if s == stage]
    return at_least("not_constant", stage, samples, MIN_SPREAD)


def _nan_first(value: float) -> float:
    """The value, or minus infinity in place of not-a-number, so that it sorts as the worst."""
    return float("-inf") if np.isnan(value) else value


def _where(case: CaseMetrics) -> str:
    return f"{case.image}, {case.prompt}"


def _place(samples: Sequence[MeasuredValue], value: float, failing: Sequence[MeasuredValue]) -> str:
    """Where the worst value is, and every group that fails with it."""
    at = next(s.where for s in samples if s.value == value or np.isnan(value) and np.isnan(s.value))
    groups = list(dict.fromkeys(s.group for s in failing))
    if not groups or groups == [at]:
        return at
    return f"{at}; fails for {', '.join(groups)}"


def _unmeasured(metric: str, stage: Stage, comparison: str, limit: float) -> Check:
    return _check(metric, stage, None, comparison, limit, False, "nothing to judge by")


def _check(
    metric: str,
    stage: Stage,
    value: float | None,
    comparison: str,
    limit: float,
    passed: bool,
    where: str,
) -> Check:
    if value is not None and np.isnan(value):
        value = None
    return Check.model_validate(
        {
            "metric": metric,
            "stage": stage,
            "value": value,
            "comparison": comparison,
            "threshold": limit,
            "passed": passed,
            "where": where,
        }
    )
