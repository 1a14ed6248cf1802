"""Every fault turns the verdict to FAIL, under the name of the metric that should see it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mobile_runtime_tests import faults
from mobile_runtime_tests.helpers import SIZE, Change, Judge, failed, failing_prompts
from mobilesam.bundle.contract import Component
from mobilesam.inference.transforms import pixels_input
from mobilesam.model.build import load_model
from mobilesam.runtimes.base import BundleRunner
from mobilesam.runtimes.bundle import Bundle

Check = tuple[str, str]
SHOWN = {"shown_iou_mean", "shown_iou_p5", "shown_iou_type_mean", "shown_differs"}
Inputs = dict[str, np.ndarray]

FILE_FAULTS: list[tuple[faults.Fault, Component, Check, tuple[str, ...]]] = [
    (
        faults.flipped_signs,
        "encoder",
        ("encoder", "relative_l2"),
        ("tflite-fp32", "coreml-fp16", "onnx-fp16"),
    ),
    (
        faults.zeroed_layer,
        "encoder",
        ("encoder", "relative_l2"),
        ("onnx-fp32", "executorch-fp32", "coreml-fp32"),
    ),
    (
        faults.constant_embedding,
        "encoder",
        ("encoder", "not_constant"),
        ("torchscript-fp32", "tflite-fp16"),
    ),
    (
        faults.flipped_decoder_signs,
        "decoder",
        ("decoder", "logits_relative_l2"),
        ("torchscript-fp32", "onnx-fp16", "tflite-fp16"),
    ),
    (
        faults.permuted_masks,
        "decoder",
        ("decoder", "mask_iou_min"),
        ("coreml-fp32", "tflite-fp32", "executorch-fp32"),
    ),
    (
        faults.wrong_iou_head,
        "decoder",
        ("decoder", "iou_prediction"),
        ("onnx-fp32", "executorch-fp32", "coreml-fp16"),
    ),
    (
        faults.nan_in_one_mask,
        "decoder",
        ("decoder", "finite"),
        ("tflite-fp32", "onnx-fp32", "torchscript-fp32"),
    ),
]


@pytest.mark.parametrize(
    ("fault", "component", "check", "name"),
    [
        pytest.param(fault, component, check, name, id=f"{fault.__name__}-{name}")
        for fault, component, check, names in FILE_FAULTS
        for name in names
    ],
)
def test_a_fault_in_a_file_is_caught(
    bundles: dict[str, Path],
    judge: Judge,
    demo_parameters: faults.Weights,
    scratch: Path,
    fault: faults.Fault,
    component: Component,
    check: Check,
    name: str,
) -> None:
    broken = faults.inject(bundles[name], scratch, component, fault, demo_parameters)
    report = judge(broken, Bundle(broken).runtimes[-1])
    assert report.verdict == "FAIL"
    assert check in failed(report), report.reasons
    assert not any(stage == "integrity" for stage, _ in failed(report))
    other = "decoder" if component == "encoder" else "encoder"
    assert not any(stage == other for stage, _ in failed(report)), report.reasons
    if fault is faults.wrong_iou_head:
        assert {metric for _, metric in failed(report)} <= {"iou_prediction", *SHOWN}
    if fault is faults.permuted_masks:
        assert ("decoder", "logits_relative_l2") in failed(report)


def _images(alter: Callable[[BundleRunner, np.ndarray, Inputs], Inputs]) -> Change:
    def change(runner: BundleRunner) -> None:
        prepare = runner.prepare_image
        runner.prepare_image = lambda image: alter(runner, image, prepare(image))  # type: ignore[method-assign]

    return change


def _prompts(alter: Callable[[BundleRunner, Inputs], Inputs]) -> Change:
    def change(runner: BundleRunner) -> None:
        prepare = runner.prepare_prompt
        runner.prepare_prompt = lambda *given: alter(runner, prepare(*given))  # type: ignore[method-assign]

    return change


def _bgr(runner: BundleRunner, image: np.ndarray, inputs: Inputs) -> Inputs:
    return inputs | {"image": inputs["image"][:, ::-1]}


def _padded_at_the_wrong_side(runner: BundleRunner, image: np.ndarray, inputs: Inputs) -> Inputs:
    size, (height, width) = runner.image_size, image.shape[:2]
    scale = size / max(height, width)
    shift = size - round(height * scale), size - round(width * scale)
    return inputs | {"image": np.roll(inputs["image"], shift, axis=(2, 3))}


def _without_mean_and_std(runner: BundleRunner, image: np.ndarray, inputs: Inputs) -> Inputs:
    assert runner.contract.input_variant == "normalized"
    return {"image": pixels_input(image, runner.image_size)[0] / 255}


def _labels_swapped(runner: BundleRunner, inputs: Inputs) -> Inputs:
    labels = inputs["point_labels"]
    swapped = np.where(labels == 1, 0, np.where(labels == 0, 1, labels)).astype(np.float32)
    return inputs | {"point_labels": swapped}


def _rows_for_columns(runner: BundleRunner, inputs: Inputs) -> Inputs:
    return inputs | {"point_coords": inputs["point_coords"][..., ::-1]}


def _eight_pixels_off(runner: BundleRunner, inputs: Inputs) -> Inputs:
    # 8 pixels of a frame of 1024.
    return inputs | {"point_coords": inputs["point_coords"] + 8 * runner.image_size / 1024}


@pytest.mark.parametrize("name", ["tflite-fp32", "onnx-fp16", "coreml-fp16"])
@pytest.mark.parametrize("alter", [_bgr, _padded_at_the_wrong_side])
def test_an_image_prepared_wrongly_is_caught_at_the_encoder(
    bundles: dict[str, Path], judge: Judge, name: str, alter: Callable[..., Inputs]
) -> None:
    report = judge(bundles[name], Bundle(bundles[name]).runtimes[0], _images(alter))
    assert report.verdict == "FAIL"
    assert ("encoder", "relative_l2") in failed(report), report.reasons
    assert not any(stage == "decoder" for stage, _ in failed(report)), report.reasons


def test_mean_and_std_left_out_is_caught_at_the_encoder(
    other_bundle: Callable[[str], Path], judge: Judge
) -> None:
    for name in ("onnx-fp16", "coreml-fp32"):
        path = other_bundle(name)
        runtime = Bundle(path).runtimes[0]
        assert judge(path, runtime).verdict == "PASS"
        report = judge(path, runtime, _images(_without_mean_and_std))
        assert report.verdict == "FAIL"
        assert ("encoder", "relative_l2") in failed(report), report.reasons


@pytest.mark.parametrize("name", ["tflite-fp32", "onnx-fp16", "coreml-fp16"])
@pytest.mark.parametrize("alter", [_labels_swapped, _rows_for_columns, _eight_pixels_off])
def test_a_prompt_prepared_wrongly_is_caught_at_the_decoder(
    bundles: dict[str, Path], judge: Judge, name: str, alter: Callable[..., Inputs]
) -> None:
    report = judge(bundles[name], Bundle(bundles[name]).runtimes[0], _prompts(alter))
    assert report.verdict == "FAIL"
    assert ("decoder", "logits_relative_l2") in failed(report), report.reasons
    assert not any(stage == "encoder" for stage, _ in failed(report)), report.reasons
    # A mask alone has no point to be wrong, and swapped labels change nothing of a box alone.
    wrong = {case.prompt_type for case in report.cases} - {"mask_only"}
    if alter is _labels_swapped:
        wrong -= {"box", "extreme_box"}
    failing = failing_prompts(report, "logits_relative_l2")
    assert failing >= wrong - {"extreme_box"} and "mask_only" not in failing
    assert alter is not _labels_swapped or not failing & {"box", "extreme_box"}


@pytest.mark.parametrize("pair", [("tflite-fp32", "tflite-fp16"), ("coreml-fp32", "coreml-fp16")])
def test_a_file_replaced_after_export_is_caught_and_not_run(
    bundles: dict[str, Path], judge: Judge, scratch: Path, pair: tuple[str, str]
) -> None:
    stale = shutil.copytree(bundles[pair[0]], scratch / "stale")
    bundle = Bundle(stale)
    (runtime,) = bundle.runtimes
    replaced = bundle.file("decoder", runtime)
    newer = Bundle(bundles[pair[1]]).file("decoder", runtime)
    if replaced.is_dir():
        shutil.rmtree(replaced)
        shutil.copytree(newer, replaced)
    else:
        shutil.copy(newer, replaced)
    report = judge(stale, runtime)
    assert report.verdict == "FAIL"
    assert failed(report) == {("integrity", "digest")}
    assert replaced.name in report.reasons[0]
    assert report.cases == [] and report.encoder == []


@pytest.fixture(scope="module")
def demo_parameters() -> faults.Weights:
    """Every entry of the demo weights by name."""
    model = load_model("demo", image_size=SIZE)
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}
