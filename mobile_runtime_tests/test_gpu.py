"""LiteRT's GPU accelerator is judged as every runtime is: right files pass, wrong ones do not."""

from pathlib import Path

import numpy as np
import pytest

from mobile_runtime_tests import faults
from mobile_runtime_tests.helpers import SIZE, Change, Judge, failed
from mobilesam.bundle.contract import Component
from mobilesam.inference.prompts import Prompt
from mobilesam.inference.transforms import Frame
from mobilesam.model.build import load_model
from mobilesam.runtimes.base import BundleRunner
from tests.conftest import require_runtime

RUNTIME = "litert_gpu"
NAME = "tflite-fp16"


@pytest.fixture(autouse=True)
def _present() -> None:
    require_runtime(RUNTIME)


def test_right_files_pass(bundles: dict[str, Path], judge: Judge) -> None:
    report = judge(bundles[NAME], RUNTIME)
    assert report.verdict == "PASS", report.reasons
    assert "(GPU, float16)" in report.engine


@pytest.mark.parametrize(
    ("fault", "component", "metric"),
    [
        (faults.flipped_signs, "encoder", "relative_l2"),
        (faults.flipped_decoder_signs, "decoder", "logits_relative_l2"),
        (faults.permuted_masks, "decoder", "mask_iou_min"),
        (faults.wrong_iou_head, "decoder", "iou_prediction"),
    ],
)
def test_a_fault_in_a_file_is_caught(
    bundles: dict[str, Path],
    judge: Judge,
    scratch: Path,
    fault: faults.Fault,
    component: Component,
    metric: str,
) -> None:
    model = load_model("demo", image_size=SIZE)
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    broken = faults.inject(bundles[NAME], scratch, component, fault, weights)
    report = judge(broken, RUNTIME)
    assert report.verdict == "FAIL"
    assert (component, metric) in failed(report), report.reasons


def _padding_left_as_it_is(runner: BundleRunner) -> None:
    """What the accelerator did with a valid size of one axis: the whole frame counted as photo."""
    prepare = runner.prepare_image
    whole = np.full(2, runner.image_size, np.float32)
    runner.prepare_image = lambda image: prepare(image) | {"valid_size": whole}  # type: ignore[method-assign]


def _unread_inputs_are_infinite(runner: BundleRunner) -> None:
    """What the contract allows where no slot is used and no mask input counts."""
    prepare = runner.prepare_prompt

    def fill(prompt: Prompt, frame: Frame) -> dict[str, np.ndarray]:
        inputs = {name: value.copy() for name, value in prepare(prompt, frame).items()}
        inputs["point_coords"][inputs["point_labels"] == -2] = np.inf
        if not inputs["has_mask_input"].any():
            inputs["mask_input"][:] = -np.inf
        return inputs

    runner.prepare_prompt = fill  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("change", "verdict"),
    [(_padding_left_as_it_is, "FAIL"), (_unread_inputs_are_infinite, "PASS")],
)
def test_inputs_are_taken_as_the_contract_says(
    bundles: dict[str, Path], judge: Judge, change: Change, verdict: str
) -> None:
    assert judge(bundles[NAME], RUNTIME, change).verdict == verdict
