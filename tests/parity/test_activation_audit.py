"""Scales and zero points of activations: right files of calibrated schemes pass, others not."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pytest

from converters.schemes import TARGETS
from mobilesam.bundle.contract import COMPONENTS, Component
from parity.activation_audit.activation import Activation, Layer
from parity.activation_audit.audit import Held, hold
from parity.activation_audit.run import audit_activations, read_file
from parity.schema import BundleReport
from parity.weight_audit.expected import expected
from parity.weight_audit.matching import Pairs, match
from parity.weight_audit.run import read_file as read_constants
from tests.tiny_bundles import tiny_bundle, tiny_model

ALL = [(target, scheme) for target, row in TARGETS.items() for scheme in row.calibrated]
NAMES = [f"{target}-{scheme}" for target, scheme in ALL]
every_scheme = pytest.mark.parametrize(("target", "scheme"), ALL, ids=NAMES)


@cache
def pairs(target: str, scheme: str, component: Component) -> Pairs:
    bundle = tiny_bundle(target, scheme)
    constants = read_constants(bundle, bundle.runtimes[0], component)
    return match(expected(tiny_model(), component).units, constants)[1]


@cache
def activations(target: str, scheme: str, component: Component) -> tuple[Activation, ...]:
    bundle = tiny_bundle(target, scheme)
    return tuple(read_file(bundle, bundle.runtimes[0], component))


def held(
    target: str, scheme: str, component: Component, given: Sequence[Activation] | None = None
) -> Held:
    ranges = tiny_bundle(target, scheme).manifest.activation_ranges[component]
    read = activations(target, scheme, component) if given is None else given
    return hold(read, pairs(target, scheme, component), ranges)


@every_scheme
def test_a_right_file_has_the_ranges_of_its_calibration(target: str, scheme: str) -> None:
    for component in COMPONENTS:
        found = held(target, scheme, component)
        assert not found.wrong
        assert not found.loose
        assert found.held == found.total > 0
        # Half a step of the zero point, and what float16 adds.
        assert found.excess < 0.25


@every_scheme
def test_every_scale_and_zero_point_that_is_off_is_named(target: str, scheme: str) -> None:
    for component in COMPONENTS:
        right = activations(target, scheme, component)
        for number, one in enumerate(right):
            faults = [
                replace(one, scale=one.scale * 2),
                replace(one, scale=one.scale / 2),
                replace(one, zero_point=one.zero_point + 20),
                replace(one, zero_point=one.zero_point - 20),
            ]
            for fault in faults:
                given = [*right[:number], fault, *right[number + 1 :]]
                (sentence,) = held(target, scheme, component, given).wrong
                assert f"('{one.name}' in the file)" in sentence


def report_of(target: str, scheme: str) -> BundleReport:
    bundle = tiny_bundle(target, scheme)
    return BundleReport(
        bundle=bundle.name,
        path=str(bundle.path),
        target=target,
        scheme=scheme,
        runtime=bundle.runtimes[0],
        engine="",
        weights="tiny",
        verdict="PASS",
        reasons=[],
        checks=[],
        size_bytes={},
    )


def test_the_verdict_names_the_place_and_needs_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    target, scheme = "onnx", "w8a8"
    bundle = tiny_bundle(target, scheme)
    own = {component: pairs(target, scheme, component) for component in COMPONENTS}
    report = report_of(target, scheme)
    audit_activations(report, bundle, "onnxruntime", own)
    assert [(check.metric, check.passed) for check in report.checks] == [
        ("activation_ranges", True)
    ] * 2
    assert report.verdict == "PASS"

    changed = {
        component: {place: (2 * low, 2 * high) for place, (low, high) in ranges.items()}
        for component, ranges in bundle.manifest.activation_ranges.items()
    }
    manifest = bundle.manifest.model_copy(update={"activation_ranges": changed})
    monkeypatch.setattr(bundle, "manifest", manifest)
    audit_activations(report, bundle, "onnxruntime", own)
    verdict: str = report.verdict
    assert verdict == "FAIL"
    assert "mlp.lin2 input" in report.reasons[-1]

    manifest = bundle.manifest.model_copy(update={"activation_ranges": {}})
    monkeypatch.setattr(bundle, "manifest", manifest)
    older = report_of(target, scheme)
    audit_activations(older, bundle, "onnxruntime", own)
    assert older.verdict == "PASS"
    assert not older.checks
    assert "no ranges" in older.notes[0]


def test_zero_is_in_every_range_and_in_the_middle_of_int16() -> None:
    given = constants_of_one_layer()
    place = "mask_decoder.iou_prediction_head.layers.0"
    ranges = {f"{place} input": (1.0, 3.0), f"{place} output": (-1.0, 2.0)}
    layer = Layer(given[f"{place}.weight"].constant.name, "input")
    right = Activation("a", 3 / 255, -128, (-128, 127), (layer,))
    assert not hold([right], given, ranges).wrong
    wide = Activation("b", 3 / 32767, 0, (-32768, 32767), (layer,))
    assert not hold([wide], given, ranges).wrong
    assert hold([replace(wide, zero_point=1)], given, ranges).wrong
    clamped = Activation("c", 2 / 255, -128, (-128, 127), (layer._replace(side="output"),))
    assert hold([clamped], given, ranges).wrong
    clamped = replace(clamped, layers=(layer._replace(side="output", clamped=True),))
    assert not hold([clamped], given, ranges).wrong


def test_what_is_narrow_may_have_the_least_scale_of_xnnpack() -> None:
    given = constants_of_one_layer()
    place = "mask_decoder.iou_prediction_head.layers.0"
    layer = Layer(given[f"{place}.weight"].constant.name, "input")
    narrow = Activation("a", 2.0**-12, -128, (-128, 127), (layer,))
    assert not hold([narrow], given, {f"{place} input": (0.0, 0.01)}).wrong
    assert hold([replace(narrow, scale=2.0**-11)], given, {f"{place} input": (0.0, 0.01)}).wrong
    assert hold([narrow], given, {f"{place} input": (0.0, 0.12)}).wrong
    # Nothing but zeros is held by any scale.
    assert not hold([replace(narrow, scale=1.0)], given, {f"{place} input": (0.0, 0.0)}).wrong


def constants_of_one_layer() -> Pairs:
    return pairs("onnx", "w8a8", "decoder")
