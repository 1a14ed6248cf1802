"""Files judged by what an emulated ARM core answers: right ones pass, wrong ones do not.

Skipped where the core is not set up (``mobilesam phones --only arm`` sets it up).
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mobile_runtime_tests.faults import inject, wrong_iou_head
from mobilesam.bundle.prompt_types import PROMPT_TYPES
from mobilesam.emulators import arm64
from mobilesam.errors import BundleError
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.table import ARM
from parity.replay.emulated import judge_on_arm64
from parity.report import Report
from tests.conftest import require_emulator
from tests.masked_folders import write_masked
from tests.parity.fakes import demo_model, write_bundle
from tests.parity.replay_folders import loadable
from tests.tiny_bundles import tiny_model


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_masked(tmp_path_factory.mktemp("arm-photos") / "masked")


@pytest.fixture(scope="module")
def judge(
    photos: Path, tiny_bundle: Callable[..., Bundle]
) -> Iterator[Callable[[list[Path], str], Report]]:
    """Judge bundles of the tiny model on a CPU."""
    require_emulator("arm64")

    def judged(bundles: list[Path], cpu: str) -> Report:
        return judge_on_arm64(bundles, cpu=cpu, images=photos, threads=1, progress=False)

    with pytest.MonkeyPatch.context() as patch:
        loadable(patch, tiny_bundle("onnx"))
        yield judged


@pytest.mark.slow
@pytest.mark.parametrize("cpu", ["cortex-a53", "cortex-a76"])
def test_right_files_pass_on_cores_with_and_without_float16(
    cpu: str, judge: Callable[[list[Path], str], Report], tiny_bundle: Callable[..., Bundle]
) -> None:
    report = judge([tiny_bundle(target).path for target in ("onnx", "tflite")], cpu)
    assert [row.verdict for row in report.bundles] == ["PASS", "PASS"], [
        row.reasons for row in report.bundles
    ]
    assert [row.runtime for row in report.bundles] == [f"onnxruntime on {cpu}", f"litert on {cpu}"]
    for row in report.bundles:
        assert row.hardware == ARM and row.engine.endswith(f", aarch64 (qemu, {cpu})")
        assert {case.prompt_type for case in row.cases} == set(PROMPT_TYPES)
        assert row.encoder and 0 < row.encoder[0].relative_l2 < 1e-5
        assert not any(taken.representative for taken in row.measurements)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_a_planted_fault_is_seen_in_the_answers(
    target: str,
    judge: Callable[[list[Path], str], Report],
    tiny_bundle: Callable[..., Bundle],
    tmp_path: Path,
) -> None:
    weights = {name: value.numpy() for name, value in tiny_model().state_dict().items()}
    wrong = inject(tiny_bundle(target).path, tmp_path, "decoder", wrong_iou_head, weights)
    (row,) = judge([wrong], arm64.DEFAULT_CPU).bundles
    failing = {(check.stage, check.metric) for check in row.checks if not check.passed}
    assert row.verdict == "FAIL" and ("decoder", "iou_prediction") in failing
    assert not {metric for stage, metric in failing if stage == "encoder"}


def test_a_format_that_the_core_cannot_run_is_refused_before_anything_is_set_up(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arm64, "set_up", lambda **_: pytest.fail("was set up"))
    before = set(os.listdir(tmp_path))
    torchscript = write_bundle(tmp_path / "torchscript", demo_model())
    with pytest.raises(BundleError, match="a replay folder knows only coreml, onnxruntime, "):
        judge_on_arm64([torchscript], images=photos, progress=False)
    assert set(os.listdir(tmp_path)) == before | {"torchscript"}
