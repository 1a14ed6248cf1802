"""A small sample of the table of faults: each kind fails by the check that should name it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mobile_runtime_tests.fault_page import Verdict, markdown
from mobile_runtime_tests.fault_table import Judge, judge
from mobile_runtime_tests.planted_faults import (
    Fault,
    activation_fault_of,
    gates_shut,
    graph_fault,
    memory_fault_of,
    model_fault,
    right_file,
    weight_fault_of,
)
from tests.conftest import require_runtime

MASKS, INSIDE = "decoder logits_relative_l2", "integrity weights_in_file"
RANGES = "integrity activation_ranges"


@pytest.fixture(scope="module")
def judged() -> Iterator[Judge]:
    with judge() as made:
        yield made


@pytest.mark.parametrize("name", ["torchscript-fp32", "onnx-fp32", "onnx-w8d", "coreai-fp32"])
def test_a_right_file_passes(judged: Judge, name: str, tmp_path: Path) -> None:
    target, _, scheme = name.partition("-")
    assert judged.verdict(right_file(target, scheme), tmp_path) == Verdict("PASS", "", "")


def test_a_file_whose_faults_are_all_shut_passes(judged: Judge, tmp_path: Path) -> None:
    verdict = judged.verdict(gates_shut("torchscript", "decoder"), tmp_path)
    assert verdict == Verdict("PASS", "", "")


@pytest.mark.parametrize(
    ("fault", "metric"),
    [
        (graph_fault("torchscript", "the last two slots ignored"), MASKS),
        (graph_fault("torchscript", "the mask input dropped beside a box"), MASKS),
        (graph_fault("torchscript", "negative points alone taken for positive"), MASKS),
        (graph_fault("torchscript", "valid_size at least 32"), "encoder relative_l2"),
        (graph_fault("onnx", "has_mask_input taken for 1"), MASKS),
        (memory_fault_of("a tenth of the earlier masks in the next ones"), MASKS),
        (
            model_fault("torchscript", "inputs that are not to be read multiplied by zero"),
            "decoder finite",
        ),
        (activation_fault_of("onnx", "w8a8", "one scale a tenth too large"), RANGES),
        (weight_fault_of("onnx", "w8d", "one bias zeroed"), INSIDE),
        (weight_fault_of("onnx", "w8d", "the scale of one channel doubled"), INSIDE),
        (weight_fault_of("onnx", "w8d", "a square matrix transposed"), INSIDE),
        (graph_fault("coreai", "has_mask_input taken for 1"), MASKS),
        (weight_fault_of("coreai", "w8", "the scale of one channel doubled"), INSIDE),
        (weight_fault_of("coreai", "fp16", "a square matrix transposed"), INSIDE),
        (weight_fault_of("onnx", "fp16", "every table of attention biases zeroed"), INSIDE),
    ],
    ids=lambda each: each.key if isinstance(each, Fault) else "",
)
def test_a_fault_fails(judged: Judge, fault: Fault, metric: str, tmp_path: Path) -> None:
    verdict = judged.verdict(fault, tmp_path)
    assert (verdict.verdict, verdict.metric) == ("FAIL", metric), verdict.reason


def test_the_page_has_a_row_for_each_fault_and_counts_what_passes() -> None:
    page = markdown(
        {
            "right files: as exported: onnx-fp32": Verdict("PASS", "", ""),
            "weights: one bias zeroed: onnx-w8": Verdict("FAIL", INSIDE, "why"),
            "weights: one bias zeroed: onnx-w8d": Verdict("FAIL", INSIDE, "why"),
            "weights: one bias zeroed: coreml-p4": Verdict("PASS", "", ""),
            "right files: as exported: tflite-fp32 on litert_gpu": Verdict("PASS", "", ""),
            "graph and inputs: half a pixel: tflite-fp32 on litert_gpu": Verdict("PASS", "", ""),
            "graph and inputs: no mask: tflite-fp32 on litert_gpu": Verdict("FAIL", MASKS, "why"),
        }
    )
    assert "| one bias zeroed |" in page
    assert f"FAIL {INSIDE} (w8, w8d)" in page
    assert "| onnx | 2 | 0 | 0 | 1 | 0 |" in page
    assert "| coreml | 0 | 1 | 0 | 0 | 0 |" in page
    assert "| tflite | 0 | 0 | 0 | 0 | 0 |" in page
    assert "| litert_gpu | 1 | 1 | 1 | 0 | half a pixel |" in page


def test_a_right_file_passes_on_another_runtime(judged: Judge, tmp_path: Path) -> None:
    require_runtime("litert_gpu_fp32")
    right = judged.verdict(right_file("tflite", "fp32"), tmp_path, "litert_gpu_fp32")
    assert right == Verdict("PASS", "", "")
