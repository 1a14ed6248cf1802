"""Files with weights of more bits than their scheme has, or activations that nothing rounds."""

from functools import cache

import pytest

from converters.lookup import schemes_of
from converters.schemes import TARGETS
from mobilesam.bundle.contract import COMPONENTS, Component
from mobilesam.runtimes.bundle import Bundle
from parity.activation_audit.run import audit_activations
from parity.judging import BundleRun, empty_bundle_report
from parity.schema import BundleReport
from parity.thresholds import Thresholds
from parity.weight_audit.audit import audit
from parity.weight_audit.matching import Pairs
from parity.weight_audit.run import audit_bundle, read_file
from parity.weight_audit.storage import stored_otherwise
from tests.tiny_bundles import tiny_bundle, tiny_model, vit_bundle, vit_model

ALL = [(target, scheme) for target in TARGETS for scheme in schemes_of(target)]
LARGE = "mask_decoder.transformer.layers.1.mlp.lin2.weight"


@cache
def pairs(target: str, scheme: str, component: Component) -> Pairs:
    bundle = tiny_bundle(target, scheme)
    given = read_file(bundle, bundle.runtimes[0], component)
    return audit(tiny_model(), component, given).pairs


@pytest.mark.slow
@pytest.mark.parametrize(("target", "scheme"), ALL)
def test_right_files_store_what_they_say(target: str, scheme: str) -> None:
    for component in COMPONENTS:
        assert stored_otherwise(pairs(target, scheme, component), scheme) == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["fp16", "w8", "w8a8"])
def test_right_files_of_the_other_encoder_do_too(scheme: str) -> None:
    bundle = vit_bundle("onnx", scheme)
    found = audit(vit_model(), "encoder", read_file(bundle, bundle.runtimes[0], "encoder"))
    assert stored_otherwise(found.pairs, scheme) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "stored", "said"),
    [
        ("tflite", "fp32", "fp16"), ("tflite", "fp32", "w8"), ("tflite", "fp16", "w8d"),
        ("tflite", "w8", "w4"), ("onnx", "fp32", "w8a8"), ("onnx", "fp16", "w8"),
        ("coreml", "fp16", "w8"), ("coreml", "fp16", "p8"), ("coreml", "p8", "p4"),
        ("torchscript", "fp32", "w8d"), ("executorch", "fp32", "w8a8"),
    ],
)  # fmt: skip
def test_a_scheme_that_was_not_applied_is_named(target: str, stored: str, said: str) -> None:
    found = stored_otherwise(pairs(target, stored, "decoder"), said)
    assert any(sentence.startswith(LARGE) for sentence in found)


@pytest.mark.slow
def test_one_layer_that_was_left_out_is_named() -> None:
    mixed = pairs("onnx", "w8", "decoder") | {LARGE: pairs("onnx", "fp32", "decoder")[LARGE]}
    (sentence,) = stored_otherwise(mixed, "w8")
    assert sentence.startswith(LARGE)


def _report(bundle: Bundle) -> BundleReport:
    row = Thresholds().row(bundle.manifest.target, bundle.manifest.scheme.name)
    report = empty_bundle_report(BundleRun(bundle, bundle.runtimes[0], row))
    report.verdict = "PASS"
    return report


@pytest.mark.slow
def test_the_verdict_is_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, said = Bundle(tiny_bundle("onnx", "fp32").path), tiny_bundle("onnx", "w8a8").manifest
    report = _report(bundle)
    audit_bundle(report, bundle, "onnxruntime", tiny_model())
    assert report.verdict == "PASS", report.reasons

    own = {name: getattr(said, name) for name in ("scheme", "calibration", "activation_ranges")}
    monkeypatch.setattr(bundle, "manifest", bundle.manifest.model_copy(update=own))
    report = _report(bundle)
    held = audit_bundle(report, bundle, "onnxruntime", tiny_model())
    assert report.verdict == "FAIL"
    assert {check.metric for check in report.checks if not check.passed} == {"weights_stored"}

    report = _report(bundle)
    audit_activations(report, bundle, "onnxruntime", held)
    assert report.verdict == "FAIL"
    assert "no activation has a scale, w8a8 has them" in report.reasons[0]
