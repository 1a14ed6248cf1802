"""One bundle's activations: what the report says of them, and the checks of its verdict."""

from collections.abc import Mapping
from importlib import import_module

from converters.schemes import MIXED
from mobilesam.bundle.contract import Component
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.checked import first_line
from parity.activation_audit.activation import Activation
from parity.activation_audit.audit import hold
from parity.checks import none_wrong
from parity.schema import ActivationAudit, BundleReport
from parity.weight_audit.matching import Pairs

READERS = {
    "coreml": "coreml",
    "litert": "tflite",
    "onnxruntime": "onnx",
    "executorch": "executorch",
}
"""Module of this package that reads the files of a runtime that has calibrated schemes."""


def audit_activations(
    report: BundleReport, bundle: Bundle, runtime: str, pairs: Mapping[Component, Pairs]
) -> None:
    """Add what a calibrated bundle's files round with, its checks and reasons to a report.

    Args:
        report: of the bundle on a runtime; becomes a FAIL where a scale or zero point is wrong.
        bundle: with files for the runtime.
        runtime: whose files are read.
        pairs: as :func:`parity.weight_audit.run.audit_bundle` returns them.
    """
    if bundle.manifest.calibration is None or runtime not in READERS:
        return
    for component, own in pairs.items():
        made = _audited(bundle, runtime, component, own)
        report.activation_audits = [*report.activation_audits, made]
        if made.left_out:
            report.notes = [*report.notes, f"activations of the {component}: {made.left_out}"]
            continue
        if made.loose:
            note = f"{made.total - made.held} of {made.total} activations of the {component}"
            names = ", ".join(made.loose)
            report.notes = [*report.notes, f"{note} were not held against a range: {names}"]
        check = none_wrong("activation_ranges", component, made.wrong)
        report.checks = [*report.checks, check]
        if not check.passed:
            report.verdict = "FAIL"
            report.reasons = [*report.reasons, f"integrity activation_ranges: {check.where}"]


def read_file(bundle: Bundle, runtime: str, component: Component) -> list[Activation]:
    """The activations of a component's file that have a scale; errors are raised as they come."""
    record = bundle.record(component, runtime)
    module = import_module(f"{__package__}.{READERS[runtime]}")
    options = {"function": record.function} if record.function else {}
    return list(module.read_activations(bundle.file(component, runtime), **options))


def _audited(bundle: Bundle, runtime: str, component: Component, pairs: Pairs) -> ActivationAudit:
    made = ActivationAudit(component=component)
    ranges = bundle.manifest.activation_ranges.get(component)
    if ranges is None:
        made.left_out = "the manifest has no ranges, export the bundle again to have them held"
        return made
    if not pairs:
        made.left_out = "not held, since its weights, which tell the layers, were not"
        return made
    try:
        activations = read_file(bundle, runtime, component)
    except Exception as error:  # whatever a damaged file makes of its reader
        made.wrong = [f"its scales cannot be read ({first_line(error)}), export the bundle again"]
        return made
    found = hold(activations, pairs, ranges)
    made.total, made.held, made.loose = found.total, found.held, found.loose
    made.wrong, made.excess, made.where = found.wrong, found.excess, found.where
    if not found.total and bundle.manifest.scheme.name != MIXED:
        made.wrong = [f"no activation has a scale, {bundle.manifest.scheme.name} has them"]
    return made
