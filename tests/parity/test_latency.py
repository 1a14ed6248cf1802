"""Measuring: one process each, lean, and a sentence when it fails."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mobilesam.bundle.contract import Contract
from mobilesam.errors import BundleError
from mobilesam.runtimes.bundle import Bundle
from parity.cost import measure as latency
from parity.cost.measure import measure_bundle, measure_reference
from parity.cost.worker import MAX_RUNS, MIN_RUNS, example, timed
from tests.parity.fakes import SIZE, demo_model, write_bundle

CONTRACT = Contract(64, 16, 256, "pixels", 8)


def test_slow_runs_are_few_and_fast_ones_many_and_the_first_does_not_count() -> None:
    calls: list[float] = []

    def slow_at_first() -> None:
        calls.append(0.02 if calls else 0.2)
        time.sleep(calls[-1])

    seconds = timed(slow_at_first, 0.0)
    assert len(seconds) == MIN_RUNS and len(calls) == MIN_RUNS + 1
    assert max(seconds) < 0.2
    assert len(timed(lambda: None, 5.0)) == MAX_RUNS
    assert MIN_RUNS < len(timed(lambda: time.sleep(0.01), 0.2)) < MAX_RUNS


def test_what_is_emulated_runs_once() -> None:
    calls: list[None] = []
    assert len(timed(lambda: calls.append(None), 5.0, warm=False)) == 1
    assert len(calls) == 1


def test_peak_memory_counts_what_is_touched() -> None:
    program = (
        "import numpy; from parity.cost.worker import peak_memory_mb as peak; before = peak(); "
        "block = numpy.ones(25_000_000); print(peak() - before)"
    )
    assert 190 < float(_python(program)) < 230


def test_example_inputs_are_the_contracts_and_one_click() -> None:
    encoder = example(CONTRACT.signature("encoder").inputs, "pixels")
    assert 100 < encoder["image"].mean() < 155 and encoder["valid_size"].tolist() == [64, 64]
    decoder = example(CONTRACT.signature("decoder").inputs, "pixels")
    assert decoder["point_labels"].tolist() == [[1, -1, -2, -2, -2, -2, -2, -2]]
    assert decoder["point_coords"][0, 0].tolist() == [32, 32]
    assert decoder["has_mask_input"].tolist() == [0]
    for name, spec in ((s.name, s) for s in CONTRACT.signature("decoder").inputs):
        assert decoder[name].shape == spec.shape and decoder[name].dtype == np.float32


@pytest.mark.slow
def test_the_reference_is_measured_in_processes_of_its_own() -> None:
    encoder, decoder = measure_reference("demo", "vit_t", SIZE, 1, budget_s=0.1)
    assert (encoder.component, decoder.component) == ("encoder", "decoder")
    for taken in (encoder, decoder):
        assert taken.threads == 1 and taken.representative
        assert 0 < taken.timing.median_s <= taken.timing.p90_s
        assert taken.timing.runs >= MIN_RUNS and taken.load_s > 0
        assert taken.peak_memory_mb is not None and taken.baseline_memory_mb is not None
        assert taken.peak_memory_mb > taken.baseline_memory_mb > 50


@pytest.mark.slow
def test_a_process_that_fails_gives_its_reason(tmp_path: Path) -> None:
    bundle = Bundle(write_bundle(tmp_path / "b", demo_model()))
    with pytest.raises(BundleError, match="the encoder on torchscript stopped with status 1: .*"):
        measure_bundle(bundle, "torchscript", 1)


def test_a_process_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "TIMEOUT_S", 0.01)
    with pytest.raises(BundleError, match="did not finish within 0.01 s"):
        measure_reference("demo", "vit_t", SIZE)


@pytest.mark.parametrize("runtime", ["litert", "onnxruntime"])
def test_a_runtime_that_is_not_torch_is_measured_without_torch(runtime: str) -> None:
    program = (
        f"import sys, parity.cost.worker, mobilesam.bundle.manifest, mobilesam.runtimes.{runtime}; "
        "print('torch' in sys.modules)"
    )
    assert _python(program).endswith("False")


def _python(program: str) -> str:
    answer = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=latency._ROOT,
    )
    return answer.stdout.strip()
