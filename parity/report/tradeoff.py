"""What each bundle gives up for its size and its speed, and which of them no other beats."""

from collections.abc import Sequence
from math import isfinite

from parity.naming import Named, distinct_names
from parity.report.aggregate import spread
from parity.report.latency import Ratio, ratio
from parity.schema import BundleReport, Measurement, Tradeoff

UNQUANTIZED = "fp32"
"""Every other scheme is to be faster than this one, or is marked as slower."""


def tradeoffs(bundles: Sequence[BundleReport]) -> list[Tradeoff]:
    """One a bundle and runtime, in their order.

    Fronts are drawn among the bundles of one model at one image size: their masks are compared
    with the same reference's, and those of another are not.
    """
    names = distinct_names([Named(bundle.bundle, bundle.path) for bundle in bundles])
    found = [_alone(bundle, name, bundles) for bundle, name in zip(bundles, names, strict=True)]
    for family in dict.fromkeys(map(_family, bundles)):
        passing = [
            each
            for each, bundle in zip(found, bundles, strict=True)
            if _family(bundle) == family and bundle.verdict == "PASS"
        ]
        for each in _smallest(passing):
            each.on_size_front = True
        own = [
            (each, bundle)
            for each, bundle in zip(found, bundles, strict=True)
            if any(each is other for other in passing)
        ]
        for each in _fastest(own):
            each.on_latency_front = True
    return found


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Whether each point (cost, worth) is on the Pareto front; equal points are so together.

    A point is off it if another costs no more and is worth no less, and differs in one of both.
    """
    return [
        not any(x <= cost and y >= worth and (x, y) != (cost, worth) for x, y in points)
        for cost, worth in points
    ]


def encoder_measurement(bundle: BundleReport) -> Measurement | None:
    """Of the encoder; None if it was not measured."""
    return next((m for m in bundle.measurements if m.component == "encoder"), None)


def _smallest(found: Sequence[Tradeoff]) -> list[Tradeoff]:
    known = [
        (each, (each.size_mb, each.mask_iou))
        for each in found
        if each.size_mb is not None and each.mask_iou is not None
    ]
    on_front = front([point for _, point in known])
    return [each for (each, _), kept in zip(known, on_front, strict=True) if kept]


def _fastest(found: Sequence[tuple[Tradeoff, BundleReport]]) -> list[Tradeoff]:
    """Those that none of the others beats, where latencies that may be equal count as equal."""
    known = [
        (each, taken, each.mask_iou)
        for each, bundle in found
        if each.mask_iou is not None and each.encoder_s is not None and not each.slower
        if (taken := encoder_measurement(bundle)) is not None
    ]

    def beats(other: Measurement, worth: float, taken: Measurement, own: float) -> bool:
        times = ratio(taken, other)
        if times is None or worth < own or times.shorter:
            return False
        return times.longer or worth > own

    return [
        each
        for each, taken, own in known
        if not any(beats(other, worth, taken, own) for _, other, worth in known)
    ]


def _alone(bundle: BundleReport, name: str, bundles: Sequence[BundleReport]) -> Tradeoff:
    """All but the fronts."""
    end_to_end = [case for case in bundle.cases if case.stage == "end_to_end"]
    masks = spread(mask.mask_iou for case in end_to_end for mask in case.masks)
    mask_iou = masks.mean if masks and isfinite(masks.mean) else None
    human = spread(
        case.human_iou_reference - case.human_iou_export
        for case in end_to_end
        if case.human_iou_reference is not None and case.human_iou_export is not None
    )
    slower = _slower(bundle, bundles)
    return Tradeoff(
        bundle=name,
        runtime=bundle.runtime,
        size_mb=sum(bundle.size_bytes.values()) / 1e6 if bundle.size_bytes else None,
        mask_iou=mask_iou,
        drop=None if mask_iou is None else 1 - mask_iou,
        human_drop=human.mean if human else None,
        encoder_s=_encoder_s(bundle),
        slower=slower and slower.value,
        slower_low=slower and slower.low,
        slower_high=slower and slower.high,
    )


def _encoder_s(bundle: BundleReport) -> float | None:
    taken = encoder_measurement(bundle)
    return taken.timing.median_s if taken and taken.representative else None


def _slower(bundle: BundleReport, bundles: Sequence[BundleReport]) -> Ratio | None:
    """The encoder's time over fp32's, the fastest if there are several; None if not longer."""
    own = encoder_measurement(bundle)
    if own is None or not own.representative or bundle.scheme == UNQUANTIZED:
        return None
    plain = [
        taken
        for other in bundles
        if other.scheme == UNQUANTIZED
        and _setting(other) == _setting(bundle)
        and (taken := encoder_measurement(other)) is not None
        and taken.representative
    ]
    if not plain:
        return None
    found = ratio(own, min(plain, key=lambda taken: taken.timing.median_s))
    return found if found is not None and found.longer else None


def _family(bundle: BundleReport) -> tuple[str, int | None]:
    return bundle.weights, bundle.image_size


def _setting(bundle: BundleReport) -> tuple[object, ...]:
    """What two bundles must have in common for their times to be compared.

    The engine too: in a report merged from several machines it names the machine.
    """
    taken = encoder_measurement(bundle)
    threads = taken.threads if taken else None
    return (*_family(bundle), bundle.target, bundle.runtime, bundle.engine, threads)
