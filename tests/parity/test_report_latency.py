"""A latency is called longer only beyond what the measurement can be off by."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity.report.latency import ALIKE, CONFIDENCE, median_interval, ratio
from parity.report.summary import summarise
from parity.schema import Measurement, Timing
from tests.parity.report_samples import bundle, case, report


def taken(rounds: list[float], batch: int | None = 0, p90: float | None = None) -> Measurement:
    """An encoder that took so many seconds in each round."""
    timing = Timing(
        median_s=float(np.median(rounds)),
        p90_s=float(np.percentile(rounds, 90)) if p90 is None else p90,
        runs=len(rounds),
        rounds_s=[] if batch is None else rounds,
        batch=batch,
    )
    return Measurement(
        component="encoder",
        load_s=0.1,
        timing=timing,
        peak_memory_mb=None,
        baseline_memory_mb=None,
        threads=2,
    )


def rounds(center: float, count: int = 6, spread: float = 0.01, seed: int = 0) -> list[float]:
    random = np.random.default_rng(seed)
    return [float(value) for value in center * random.normal(1, spread, count)]


@pytest.mark.parametrize(
    ("count", "place"), [(2, 0), (5, 0), (6, 0), (8, 0), (9, 1), (12, 2), (20, 5), (100, 39)]
)
def test_the_interval_is_of_order_statistics(count: int, place: int) -> None:
    values = np.random.default_rng(0).permutation(count).astype(float)
    assert median_interval(values) == (place, count - 1 - place)


@pytest.mark.parametrize("count", [6, 9, 20])
def test_the_interval_encloses_the_median_as_often_as_it_says(count: int) -> None:
    random = np.random.default_rng(1)
    found = [median_interval(random.lognormal(0, 0.5, count)) for _ in range(2000)]
    inside = sum(low <= 1 <= high for low, high in found) / len(found)
    assert inside >= CONFIDENCE - 0.015  # three standard errors of 2000 draws


def test_a_drift_of_the_machine_touches_neither() -> None:
    drift = np.linspace(1, 3, 6)
    own = taken(list(1.1 * drift * rounds(1, seed=1)))
    other = taken(list(drift * rounds(1, seed=2)))
    found = ratio(own, other)
    assert found is not None and found.value == pytest.approx(1.1, rel=0.02)
    assert found.longer and not found.shorter and not found.alike
    back = ratio(other, own)
    assert back is not None and back.shorter and not back.longer


def test_what_is_within_its_interval_is_alike() -> None:
    found = ratio(taken([1.0, 1.2, 0.9, 1.1, 1.3, 1.0]), taken([1.0] * 6))
    assert found is not None and found.value > 1 + ALIKE and found.low < 1 and found.alike
    # Beyond its interval, but by no more than two processes of one file may differ.
    near = ratio(taken([1 + ALIKE / 2] * 6), taken([1.0] * 6))
    assert near is not None and near.low > 1 and near.alike


def test_without_turns_in_common_the_90th_percentiles_bound_it() -> None:
    for own, other in (
        (taken([1.2] * 6, batch=0, p90=1.3), taken([1.0] * 6, batch=1, p90=1.25)),
        (taken([1.2] * 6, batch=None, p90=1.3), taken([1.0] * 6, batch=None, p90=1.25)),
        (taken([1.2] * 6, p90=1.3), taken([1.0] * 5, p90=1.25)),  # one broke off
    ):
        found = ratio(own, other)
        assert found is not None
        assert found == pytest.approx((1.2, 1.2 / 1.25, 1.3)) and found.alike
    assert ratio(taken([0.0] * 6), taken([1.0] * 6)) is None
    assert ratio(taken([1.0] * 6), taken([0.0] * 6)) is None


@settings(max_examples=50)
@given(st.lists(st.floats(0.5, 2), min_size=6, max_size=9), st.floats(0.5, 2))
def test_nothing_is_both_and_exchanged_it_is_the_other(values: list[float], times: float) -> None:
    one, other = taken(values), taken([times] * len(values))
    there, back = ratio(one, other), ratio(other, one)
    assert there is not None and back is not None
    assert there.longer + there.shorter + there.alike == 1
    assert there.low <= there.value <= there.high or len(values) % 2 == 0


def bundles(*found: tuple[str, float, Measurement]) -> list[bool]:
    """Whether each scheme, with the IoU of its masks, is on the front of latency."""
    made = [
        bundle(
            "tflite",
            scheme,
            measurements=[own],
            cases=[case("cup", "box", "end_to_end", [iou] * 4)],
        )
        for scheme, iou, own in found
    ]
    return [each.on_latency_front for each in report(*made).tradeoffs]


def test_latencies_within_noise_are_equal_on_the_front() -> None:
    noisy = taken([1.0, 1.1, 0.95, 1.05, 1.0, 0.98])
    # The better masks win where neither is faster, whatever the medians are.
    worse = taken([0.99, 1.09, 0.96, 1.04, 1.01, 0.97])
    assert bundles(("fp32", 1.0, noisy), ("w8", 0.9, worse)) == [True, False]
    # What is faster beyond the noise stays, although its masks are worse.
    assert bundles(("fp32", 1.0, noisy), ("w8", 0.9, taken([0.7] * 6))) == [True, True]
    # Equal in both, both are on it.
    assert bundles(("fp32", 1.0, noisy), ("w8", 1.0, worse)) == [True, True]
    # Slower beyond the noise, it is off it, although its masks are the best.
    assert bundles(("fp32", 0.9, noisy), ("w8", 1.0, taken([1.3] * 6))) == [True, False]


def test_a_mark_tells_its_interval() -> None:
    found = report(
        bundle("tflite", "fp32", measurements=[taken([1.0] * 6)]),
        bundle("tflite", "w8", measurements=[taken([1.2, 1.25, 1.3, 1.3, 1.35, 1.4])]),
        bundle("tflite", "w4", measurements=[taken([0.9, 1.02, 1.3, 0.95, 1.1, 1.0])]),
    ).tradeoffs
    assert [each.slower for each in found] == [None, pytest.approx(1.3), None]
    assert (found[1].slower_low, found[1].slower_high) == (1.2, 1.4)


def test_what_is_within_its_interval_is_said_to_be_as_fast_as_pytorch() -> None:
    reference = [taken([1.0, 1.1, 0.95, 1.05, 1.0, 0.98])]
    for own, shown in (([1.02, 1.11, 0.94, 1.06, 1.03, 0.99], 1.0), ([1.3] * 6, 1.3)):
        line = summarise(report(bundle(measurements=[taken(own)]), reference=reference))[0]
        assert line.encoder.ratio == pytest.approx(shown, abs=0.05)
        assert (line.encoder.ratio == 1.0) == (shown == 1.0)
