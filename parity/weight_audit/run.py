"""One bundle's files audited: what the report says of them, and the checks of its verdict."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from mobilesam.bundle.contract import COMPONENTS, Component
from mobilesam.model.sam import MobileSAM
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.checked import first_line
from parity.checks import none_wrong
from parity.schema import BundleReport, WeightAudit
from parity.weight_audit.audit import audit
from parity.weight_audit.constants import Constant
from parity.weight_audit.matching import Pairs
from parity.weight_audit.storage import stored_otherwise

READERS = {
    "torchscript": "torchscript",
    "lite_interpreter": "torchscript",
    "coreml": "coreml",
    "litert": "tflite",
    "onnxruntime": "onnx",
    "executorch": "executorch",
    "executorch_coreml": "executorch_coreml",
    "coreai": "coreai",
}
"""Module of this package that reads the files of a runtime."""

DISTILLED = "distilled"
"""Option of a manifest whose encoder was tuned: it is not meant to have the reference's weights."""


def audit_bundle(
    report: BundleReport,
    bundle: Bundle,
    runtime: str,
    model: MobileSAM,
    components: Sequence[Component] = COMPONENTS,
) -> dict[Component, Pairs]:
    """Add the audit of a bundle's files, its checks and reasons to a report.

    Args:
        report: of the bundle on a runtime; becomes a FAIL where a weight is wrong.
        bundle: with files for the runtime.
        runtime: whose files are read.
        model: the reference, with the bundle's image size.
        components: whose files are read.

    Returns:
        The tensors of each component that was read, and the constants that hold them.
    """
    pairs: dict[Component, Pairs] = {}
    for component in components:
        made, pairs[component] = _audited(bundle, runtime, component, model)
        report.weight_audits.append(made)
        if made.left_out:
            report.notes = [*report.notes, f"weights of the {component}: {made.left_out}"]
            continue
        lost = [f"{name} was not found" for name in made.missing]
        wide = stored_otherwise(pairs[component], bundle.manifest.scheme.name)
        for check in (
            none_wrong("weights_in_file", component, [*made.wrong, *lost]),
            none_wrong("weights_stored", component, wide),
        ):
            report.checks = [*report.checks, check]
            if not check.passed:
                report.verdict = "FAIL"
                report.reasons = [*report.reasons, f"integrity {check.metric}: {check.where}"]
    return pairs


def read_file(bundle: Bundle, runtime: str, component: Component) -> list[Constant]:
    """The constants of a component's file.

    Raises:
        ImportError: the library that reads the format is not installed.
        MobileSAMError: the file cannot be read.
    """
    record = bundle.record(component, runtime)
    module = import_module(f"{__package__}.{READERS[runtime]}")
    path: Path = bundle.file(component, runtime)
    options = {"function": record.function} if record.function else {}
    found: list[Constant] = module.read_constants(path, **options)
    return found


def _audited(
    bundle: Bundle, runtime: str, component: Component, model: MobileSAM
) -> tuple[WeightAudit, Pairs]:
    made = WeightAudit(component=component)
    if component == "encoder" and DISTILLED in bundle.manifest.options:
        made.left_out = (
            "not held against the reference's, from which they were tuned "
            f"('{bundle.manifest.options[DISTILLED]}')"
        )
        return made, {}
    try:
        constants = read_file(bundle, runtime, component)
    except ImportError as error:
        made.left_out = f"not read, '{error.name}' is not installed"
        return made, {}
    except Exception as error:  # readers of formats raise types of their own
        made.wrong = [f"the file could not be read ({first_line(error)})"]
        return made, {}
    found = audit(model, component, constants)
    made.parameters, made.accounted = found.total, found.found
    made.missing = found.missing
    made.wrong = [finding.sentence for finding in found.wrong]
    made.excess, made.where = found.excess, found.where
    return made, found.pairs
