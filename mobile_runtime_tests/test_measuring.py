"""Cost of real files on real runtimes, each in a process of its own."""

from pathlib import Path

import pytest

from mobilesam.runtimes.bundle import Bundle
from parity.cost.measure import measure_bundle


@pytest.mark.parametrize("name", ["tflite-fp32", "onnx-fp32", "executorch-fp32"])
def test_a_bundle_is_measured(bundles: dict[str, Path], name: str) -> None:
    bundle = Bundle(bundles[name])
    encoder, decoder = measure_bundle(bundle, bundle.runtimes[0], 1, budget_s=0.2)
    for taken in (encoder, decoder):
        assert 0 < taken.timing.median_s <= taken.timing.p90_s < 60
        assert taken.timing.runs >= 3 and taken.load_s > 0 and taken.threads == 1
        assert taken.representative
        # What is measured is the runtime: weights and activations on top of a bare process.
        assert taken.peak_memory_mb is not None and taken.baseline_memory_mb is not None
        used = taken.peak_memory_mb - taken.baseline_memory_mb
        assert 5 < used < 1000
    if name.startswith("tflite"):
        for taken in (encoder, decoder):
            assert taken.delegate_partitions is not None and 1 <= taken.delegate_partitions <= 10
        assert (encoder.baseline_memory_mb or 0) < 150, "PyTorch was imported"


def test_an_emulated_runtime_says_so(bundles: dict[str, Path]) -> None:
    encoder, decoder = measure_bundle(Bundle(bundles["coreml-fp32"]), "coreml", 2)
    assert encoder.representative == decoder.representative
    assert encoder.timing.runs == (1 if not encoder.representative else encoder.timing.runs)
