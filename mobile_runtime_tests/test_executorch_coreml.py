"""Faults in the Core ML package inside an ExecuTorch program are caught; right programs pass."""

from functools import cache
from pathlib import Path

import pytest

pytest.importorskip("coremltools", reason="coremltools is not installed")
pytest.importorskip("executorch.runtime", reason="executorch is not installed")

from converters.executorch.options import ExecuTorchOptions  # noqa: E402
from converters.schemes import EXECUTORCH  # noqa: E402
from mobile_runtime_tests import faults  # noqa: E402
from mobile_runtime_tests.helpers import FLOAT, Judge, failed  # noqa: E402
from mobile_runtime_tests.planting import SPEC, Package, attribute_faults  # noqa: E402
from mobilesam.bundle.contract import Component  # noqa: E402
from mobilesam.runtimes.executorch_coreml import package_of  # noqa: E402
from tests.shared_bundles import demo_model, exported  # noqa: E402

RUNTIME = "executorch_coreml"


@cache
def good(scheme: str) -> Path:
    """The demo weights', small frame."""
    options = ExecuTorchOptions(backend="coreml")
    return exported(demo_model(), "demo-coreml", EXECUTORCH, FLOAT, options)[scheme].path


@pytest.mark.parametrize("scheme", FLOAT)
def test_right_files_pass(judge: Judge, scheme: str) -> None:
    report = judge(good(scheme), RUNTIME)
    assert report.verdict == "PASS", report.reasons
    assert report.engine.endswith("the package inside the ExecuTorch program")


@pytest.mark.parametrize(
    ("fault", "scheme", "component", "metric"),
    [
        (faults.flipped_signs, "fp16", "encoder", "relative_l2"),
        (faults.constant_embedding, "fp32", "encoder", "not_constant"),
        (faults.flipped_decoder_signs, "fp32", "decoder", "logits_relative_l2"),
        (faults.permuted_masks, "fp16", "decoder", "mask_iou_min"),
        (faults.wrong_iou_head, "fp32", "decoder", "iou_prediction"),
        (faults.nan_in_one_mask, "fp16", "decoder", "finite"),
    ],
)
def test_wrong_weights_are_caught(
    judge: Judge,
    scratch: Path,
    fault: faults.Fault,
    scheme: str,
    component: Component,
    metric: str,
) -> None:
    weights = {name: value.numpy() for name, value in demo_model().state_dict().items()}
    report = judge(faults.inject(good(scheme), scratch, component, fault, weights), RUNTIME)
    assert report.verdict == "FAIL"
    assert (component, metric) in failed(report), report.reasons


@pytest.mark.parametrize("scheme", FLOAT)
@pytest.mark.parametrize("component", ["encoder", "decoder"])
@pytest.mark.parametrize("kind", ["layer_norm epsilon", "softmax axis"])
def test_a_wrong_op_is_caught(
    judge: Judge, scratch: Path, kind: str, component: Component, scheme: str
) -> None:
    def edit(path: Path) -> None:
        with package_of(path) as (_, package):
            before = (package / SPEC).read_bytes()
            opened = Package(package)
        next(each for each in attribute_faults(opened) if each.kind == kind).plant(opened)
        after = opened.spec.SerializeToString()
        content = path.read_bytes()
        # Of the same length, so that everything behind it stays where the program says.
        assert len(after) == len(before) and content.count(before) == 1
        path.write_bytes(content.replace(before, after))

    report = judge(faults.rewritten(good(scheme), scratch, component, edit), RUNTIME)
    assert report.verdict == "FAIL"
    assert (component, "logits_relative_l2" if component == "decoder" else "relative_l2") in failed(
        report
    )
