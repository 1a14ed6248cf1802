"""What the files hold, held against the model: weights, and the scales of activations."""

from mobilesam.bundle.contract import Component
from mobilesam.model.sam import MobileSAM
from mobilesam.runtimes.bundle import Bundle
from parity.activation_audit.run import audit_activations
from parity.schema import BundleReport
from parity.weight_audit.matching import Pairs
from parity.weight_audit.run import audit_bundle


def add_audits(
    report: BundleReport, bundle: Bundle, runtime: str, model: MobileSAM
) -> dict[Component, Pairs]:
    """Read a judged bundle's files; what is wrong in them turns its report into a FAIL.

    Args:
        report: of the bundle on the runtime.
        bundle: with files for the runtime.
        runtime: whose files are read.
        model: the reference, with the bundle's image size.

    Returns:
        The tensors of each component that was read, and the constants that hold them.
    """
    pairs = audit_bundle(report, bundle, runtime, model)
    audit_activations(report, bundle, runtime, pairs)
    return pairs


def carry_audits(report: BundleReport, made: BundleReport) -> None:
    """Add audits of the same files that were made elsewhere, where the model was."""
    report.weight_audits = [*report.weight_audits, *made.weight_audits]
    report.activation_audits = [*report.activation_audits, *made.activation_audits]
    report.notes = [*report.notes, *made.notes]
    report.checks = [*report.checks, *made.checks]
    report.reasons = [*report.reasons, *made.reasons]
    if made.reasons:
        report.verdict = "FAIL"
