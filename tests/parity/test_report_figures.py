"""Numbers as text: never rounded towards passing, never more digits than mean something."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.report import figures

NAN = float("nan")


@given(st.floats(0, 1))
def test_a_share_is_never_rounded_up(value: float) -> None:
    assert float(figures.share(value)) <= value + 1e-12
    assert value - float(figures.share(value)) < 1.001e-4


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1.0000"), (0.99999, "0.9999"), (0.29, "0.2900"), (0.0, "0.0000"), (None, "–"),
     (NAN, "not finite")],
)  # fmt: skip
def test_share(value: float | None, text: str) -> None:
    assert figures.share(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.23e-6, "1.2e-6"), (0.0123, "0.012"), (0.999, "1.0"), (12.3, "12"),
     (123456.0, "1.2e5"), (None, "–"), (NAN, "not finite"), (float("inf"), "not finite")],
)  # fmt: skip
def test_error(value: float | None, text: str) -> None:
    assert figures.error(value) == text


@given(st.floats(1e-12, 1e12), st.floats(1e-12, 1e12))
def test_a_figure_is_told_from_its_threshold(value: float, threshold: float) -> None:
    text = figures.exact(value, threshold)
    assert (float(text) < threshold) == (value < threshold)
    assert (float(text) > threshold) == (value > threshold)
    assert float(text) == pytest.approx(value, rel=1e-3)


@given(st.floats(0.9, 1.1), st.floats(0.9, 1.1))
def test_a_figure_near_one_is_told_from_its_threshold(value: float, threshold: float) -> None:
    shown = float(figures.exact(value, threshold))
    assert (shown < threshold, shown > threshold) == (value < threshold, value > threshold)
    assert (shown < 1) == (value < 1) or value > 1


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (figures.exact(1e-4), "0.0001"),
        (figures.exact(5e-7), "5e-7"),
        (figures.exact(0.99997), "0.99997"),
        (figures.exact(1 - 1e-12), "0.9999999"),
        (figures.exact(1 + 1e-12), "1"),
        (figures.exact(1.0), "1"),
        (figures.exact(0.989951, 0.98996), "0.98995"),
        (figures.exact(0.99999996, 0.99999993), "0.99999996"),
        (figures.exact(0.99999985, 0.9999999), "0.9999998"),
        (figures.limit(0.99999), "0.99999"),
        (figures.limit(1e-6), "1e-6"),
        (figures.limit(80.0), "80"),
        (figures.percent(1.0), "100 %"),
        (figures.percent(0.99999), "99.9 %"),
        (figures.percent_lost(0.0), "0 %"),
        (figures.percent_lost(1 / 3000), "0.1 %"),
        (figures.percent_lost(None), "–"),
        (figures.megabytes(28.112), "28.1"),
        (figures.megabytes(311.25), "311"),
        (figures.milliseconds(1.6123), "1612"),
        (figures.milliseconds(0.05021), "50.2"),
        (figures.milliseconds(0.000123), "0.123"),
        (figures.seconds(0.314), "0.31"),
        (figures.count(None), "–"),
        (figures.count(114), "114"),
        (figures.decibels(None), "equal"),
        (figures.decibels(80.04), "80.0"),
        (figures.words("end_to_end"), "end to end"),
        (figures.metric("mask_iou_min"), "mask IoU min"),
        (figures.metric("digest"), "altered files"),
    ],
)
def test_figures(made: str, text: str) -> None:
    assert made == text
