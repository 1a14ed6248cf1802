"""Faults of coremltools and NumPy that shaped the schemes; a test that fails here is good news."""

import numpy as np
import pytest

optimize = pytest.importorskip("coremltools.optimize.coreml", reason="coremltools is not installed")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_magnitude_pruning_leaves_large_float16_weights_dense() -> None:
    """One reason why `s50` was measured with thresholds of our own; the other is its accuracy."""
    from coremltools.optimize.coreml._quantization_passes import prune_weights

    weights = np.random.default_rng(0).normal(size=(256, 256)).astype(np.float16)
    assert weights.size == 65_536
    pruned = prune_weights.compress_by_magnitude(weights, 0.5)
    assert len(pruned.nonzero_data) == np.count_nonzero(weights)
    fewer = prune_weights.compress_by_magnitude(weights[:200], 0.5)
    assert len(fewer.nonzero_data) == pytest.approx(weights[:200].size / 2, rel=0.01)
    assert np.isnan(np.percentile(weights, 50))
    assert np.isfinite(np.percentile(weights.astype(np.float32), 50))
