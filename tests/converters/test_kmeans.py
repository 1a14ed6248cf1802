"""Palettes: few values, each the mean of what it stands for, and as good as scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from converters.coreml.kmeans import palette

RANDOM = np.random.default_rng(0)

Weights = npst.arrays(
    np.float16,
    npst.array_shapes(min_dims=1, max_dims=3, max_side=24),
    elements=st.floats(-100, 100, width=16),
)


@settings(deadline=None, max_examples=40)
@given(Weights, st.integers(1, 8))
def test_every_value_takes_the_nearest_of_at_most_two_to_the_bits(
    values: np.ndarray, bits: int
) -> None:
    lut, indices = palette(values, bits)
    assert lut.dtype == values.dtype and lut.shape == (1 << bits,)
    assert indices.dtype == np.uint8 and indices.shape == (values.size,)
    exact = values.reshape(-1, 1).astype(np.float64)
    distances = np.abs(exact - lut.astype(np.float64))
    taken = np.take_along_axis(distances, indices[:, None].astype(np.intp), 1)[:, 0]
    assert np.array_equal(taken, distances.min(axis=1))


@settings(deadline=None, max_examples=40)
@given(Weights)
def test_few_distinct_values_are_kept_exactly(values: np.ndarray) -> None:
    few = values.reshape(-1)[RANDOM.integers(0, min(16, values.size), 300)]
    lut, indices = palette(few, 4)
    assert np.array_equal(lut[indices], few)


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_each_entry_is_the_mean_of_the_values_that_take_it(bits: int) -> None:
    values = RANDOM.normal(size=(300, 70)).astype(np.float32)
    lut, indices = palette(values, bits)
    sums = np.bincount(indices, values.reshape(-1), minlength=1 << bits)
    counts = np.bincount(indices, minlength=1 << bits)
    assert counts.all()
    np.testing.assert_allclose(sums / counts, lut, atol=1e-6)


def test_a_palette_is_the_same_on_every_run() -> None:
    values = RANDOM.normal(size=5000).astype(np.float16)
    first, second = palette(values, 6), palette(values, 6)
    assert np.array_equal(first[0], second[0]) and np.array_equal(first[1], second[1])


@pytest.mark.parametrize("bits", [4, 6, 8])
@pytest.mark.parametrize("tails", ["normal", "heavy"])
def test_it_is_about_as_good_as_scikit_learns(bits: int, tails: str) -> None:
    cluster = pytest.importorskip("sklearn.cluster")
    draw = RANDOM.normal if tails == "normal" else lambda size: RANDOM.standard_t(5, size)
    values = (0.05 * draw(size=20_000)).astype(np.float16)
    lut, indices = palette(values, bits)
    fitted = cluster.KMeans(1 << bits, n_init=1, random_state=0).fit(values.reshape(-1, 1))
    ours = np.square(values.astype(np.float64) - lut[indices]).sum()
    assert ours <= 1.15 * fitted.inertia_
