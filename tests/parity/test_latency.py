"""Measuring: one process each, lean, and a sentence when it fails."""

import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mobilesam.bundle.contract import Contract
from mobilesam.errors import BundleError
from mobilesam.runtimes.bundle import Bundle
from parity.cost import process as latency
from parity.cost.measure import MIN_ROUNDS, bundle_job, measure_in_turns, reference_job
from parity.cost.worker import example, turn
from tests.parity.fakes import SIZE, demo_model, write_bundle

CONTRACT = Contract(64, 16, 256, "pixels", 8)


def test_a_turn_is_one_slow_run_or_several_fast_ones_without_the_first() -> None:
    calls: list[float] = []

    def slow_at_first() -> None:
        calls.append(0.002 if calls else 0.02)
        time.sleep(calls[-1])

    seconds = turn(slow_at_first, 0.05)
    assert len(seconds) == len(calls) - 1 > 3 and max(seconds[:3]) < 0.02
    assert len(turn(lambda: time.sleep(0.02), 0.01)) == 1


def test_peak_memory_counts_what_is_touched() -> None:
    program = (
        "import numpy; from mobilesam.memory import peak_memory_mb as peak; before = peak(); "
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
    job = reference_job("demo", "vit_t", SIZE)
    costs = measure_in_turns([job, job], 1, budget_s=0.1)
    first, second = costs.found
    assert not isinstance(first, BundleError) and not isinstance(second, BundleError)
    encoder, decoder = first
    assert [m.timing.batch for m in first] == [m.timing.batch for m in second] == [0, 0]
    assert len(encoder.timing.rounds_s) == len(second[0].timing.rounds_s) == MIN_ROUNDS
    assert costs.others is None or 0 <= costs.others
    assert (encoder.component, decoder.component) == ("encoder", "decoder")
    for taken in (encoder, decoder):
        assert taken.threads == 1 and taken.representative
        assert 0 < taken.timing.median_s <= taken.timing.p90_s
        assert taken.timing.runs >= MIN_ROUNDS and taken.load_s > 0
        assert taken.peak_memory_mb is not None and taken.baseline_memory_mb is not None
        assert taken.peak_memory_mb > taken.baseline_memory_mb > 50


@pytest.mark.slow
def test_a_process_that_fails_gives_its_reason(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "b", demo_model())
    (folder / "encoder.pt").write_bytes(b"not a program")
    bundle = Bundle(folder)
    (found,) = measure_in_turns([bundle_job(bundle, "torchscript")], 1).found
    assert isinstance(found, BundleError)
    assert re.match("the encoder on torchscript stopped with status 1: .*", str(found))


def test_a_process_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "TIMEOUT_S", 0.01)
    (found,) = measure_in_turns([reference_job("demo", "vit_t", SIZE)]).found
    assert isinstance(found, BundleError) and "did not finish within 0.01 s" in str(found)


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
        cwd=latency.ROOT,
    )
    return answer.stdout.strip()
