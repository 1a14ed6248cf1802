"""Every number against a definition worked out by other means."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion
from skimage.metrics import peak_signal_noise_ratio

from parity import metrics


def test_encoder_metrics_of_a_worked_example() -> None:
    reference = np.array([[0.0, 3.0], [4.0, 0.0]], np.float32)
    export = np.array([[0.0, 3.0], [4.0, 0.5]], np.float32)
    assert metrics.max_abs_error(reference, export) == 0.5
    assert metrics.relative_l2(reference, export) == pytest.approx(0.1)
    assert metrics.cosine(reference, export) == pytest.approx(5 / math.sqrt(25.25))
    assert metrics.psnr_db(reference, export) == pytest.approx(20 * math.log10(4 / 0.25))


def test_the_worst_channel_is_found_among_256() -> None:
    reference = np.random.default_rng(0).standard_normal((1, 256, 8, 8)).astype(np.float32)
    doubled = reference.copy()
    doubled[:, 77] *= 2
    assert metrics.relative_l2(reference, doubled) < 0.1
    assert metrics.channel_relative_l2(reference, doubled) == pytest.approx(1, rel=1e-5)
    assert metrics.channel_relative_l2(reference, reference) == 0


def test_a_channel_that_is_nearly_dead_counts_as_a_tenth_of_the_others() -> None:
    reference = np.ones((1, 100, 4, 4))
    reference[:, 5] = 0
    export = reference.copy()
    export[:, 5] += 0.01
    found = metrics.channel_relative_l2(reference, export)
    assert found == pytest.approx(0.1 / math.sqrt(0.99), rel=1e-6)
    dead = np.zeros((1, 3, 2, 2))
    assert metrics.channel_relative_l2(dead, dead) == 0
    assert math.isinf(metrics.channel_relative_l2(dead, dead + 1))


def mask_error(reference: np.ndarray, export: np.ndarray, channel: int) -> float:
    norm = metrics.mask_norms(reference)[channel]
    return metrics.mask_relative_l2(reference[channel], export[channel], norm)


def test_a_mask_of_small_logits_counts_as_half_as_large_as_the_masks_of_its_case() -> None:
    reference = np.full((4, 8, 8), 8.0, np.float32)
    reference[1] = 0.8
    export = reference + np.float32(0.08)
    rms = math.sqrt((3 * 8**2 + 0.8**2) / 4)
    assert mask_error(reference, export, 0) == pytest.approx(0.01, rel=1e-4)
    assert mask_error(reference, export, 1) == pytest.approx(0.16 / rms, rel=1e-4)


def test_a_mask_that_is_empty_or_not_finite_has_no_good_relative_l2() -> None:
    nothing = np.zeros((4, 8, 8), np.float32)
    assert mask_error(nothing, nothing, 2) == 0
    assert mask_error(nothing, nothing + 1, 2) == math.inf
    broken = nothing.copy()
    broken[2, 0, 0] = math.nan
    assert math.isnan(mask_error(nothing, broken, 2))
    assert mask_error(nothing, broken, 1) == 0
    assert math.isnan(mask_error(broken, nothing, 1))


def test_psnr_is_scikit_images_with_the_range_of_the_reference() -> None:
    generator = np.random.default_rng(1)
    reference = generator.standard_normal((4, 8, 8))
    export = reference + 0.01 * generator.standard_normal((4, 8, 8))
    peak = reference.max() - reference.min()
    wanted = peak_signal_noise_ratio(reference, export, data_range=peak)
    assert metrics.psnr_db(reference, export) == pytest.approx(wanted)


def test_equal_arrays_have_no_error_and_no_psnr() -> None:
    array = np.arange(12, dtype=np.float32)
    assert metrics.max_abs_error(array, array) == 0
    assert metrics.relative_l2(array, array) == 0
    assert metrics.cosine(array, array) == pytest.approx(1)
    assert metrics.psnr_db(array, array) is None
    assert metrics.spread_ratio(array, array) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("side", ["reference", "export"])
def test_a_value_that_is_not_finite_makes_every_error_nan(value: float, side: str) -> None:
    good = np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2)
    bad = good.copy()
    bad[0, 1, 0, 1] = value
    pair = (bad, good) if side == "reference" else (good, bad)
    for metric in (
        metrics.max_abs_error,
        metrics.relative_l2,
        metrics.channel_relative_l2,
        metrics.cosine,
        metrics.psnr_db,
        metrics.spread_ratio,
    ):
        result = metric(*pair)
        assert result is not None and math.isnan(result), metric.__name__
    assert not metrics.is_finite(good, bad)
    assert metrics.is_finite(good)


def test_a_constant_has_no_spread_whatever_its_value() -> None:
    reference = np.arange(12, dtype=np.float32)
    assert metrics.spread_ratio(reference, np.full(12, 7, np.float32)) == 0
    assert math.isnan(metrics.spread_ratio(np.zeros(3), np.ones(3)))


def test_an_error_against_zeros_is_infinite() -> None:
    assert metrics.relative_l2(np.zeros(3), np.zeros(3)) == 0
    assert metrics.relative_l2(np.zeros(3), np.ones(3)) == math.inf


def test_large_arrays_are_summed_without_losing_small_errors() -> None:
    reference = np.full(1_000_000, 1000, np.float32)
    export = reference.copy()
    export[0] += 1
    assert metrics.relative_l2(reference, export) == pytest.approx(1e-6, rel=1e-3)


def test_iou_of_overlapping_and_of_empty_masks() -> None:
    a = np.zeros((4, 4), bool)
    b = np.zeros((4, 4), bool)
    assert metrics.iou(a, b) == 1
    a[:2], b[1:3] = True, True
    assert metrics.iou(a, b) == pytest.approx(4 / 12)
    assert metrics.iou(a, ~a) == 0


@given(
    height=st.integers(20, 90),
    width=st.integers(20, 90),
    seed=st.integers(0, 2**16),
    share=st.floats(0.3, 0.99),
)
def test_boundary_is_the_mask_without_its_erosion(
    height: int, width: int, seed: int, share: float
) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    mask[2 : height // 2, 3 : width // 2] = True
    d = max(1, round(0.02 * math.hypot(height, width)))
    eroded = binary_erosion(mask, np.ones((3, 3)), iterations=d, border_value=0)
    assert (metrics.boundary(mask) == (mask & ~eroded)).all()


def test_boundary_iou_sees_what_mask_iou_does_not() -> None:
    whole = np.zeros((400, 400), bool)
    whole[50:350, 50:350] = True
    smaller = np.zeros_like(whole)
    smaller[54:346, 54:346] = True
    assert metrics.iou(whole, smaller) > 0.94
    assert metrics.iou(metrics.boundary(whole), metrics.boundary(smaller)) < 0.6
