"""Files with weights of few bits against PyTorch with those very weights: is the graph right?

What a scheme's weights change is judged by the scheme's own limits, and these are wide. Within them
a graph that leaves out half a pixel, or clips the mask input, would pass. Here its weights are the
same on both sides, and the limits are those of float arithmetic.
"""

from collections.abc import Sequence

from mobilesam.bundle.contract import COMPONENTS, Component
from mobilesam.model.sam import MobileSAM
from mobilesam.runtimes.base import BundleRunner
from mobilesam.runtimes.reference import ReferenceRunner
from parity.checks import checks, reasons
from parity.findings import compare_runner
from parity.photos import PhotoSet, is_strip
from parity.references import PhotoReference, reference_answers
from parity.schema import BundleReport, Check
from parity.thresholds import Row
from parity.weight_audit.matching import Pairs
from parity.weight_audit.restoring import restored

METRICS = ("relative_l2", "logits_relative_l2", "iou_prediction")
"""Of the checks of a row, those that are held: errors of numbers, which show more than masks do."""

STAGES = ("encoder", "decoder")


def judge_own_weights(
    report: BundleReport,
    runner: BundleRunner,
    pairs: dict[Component, Pairs],
    model: MobileSAM,
    answers: Sequence[PhotoReference],
    row: Row,
) -> None:
    """Add the checks of a file against PyTorch with the file's weights to its report.

    It is asked about the first photo and the first strip, with every prompt.

    Args:
        report: of the bundle; becomes a FAIL where the graph is wrong.
        runner: of the bundle, opened.
        pairs: of each component, every tensor and the constant that holds it.
        model: the reference, with the bundle's image size.
        answers: that the runner was asked for, for their photos.
        row: the limits of the scheme whose arithmetic the file has.
    """
    if any(not pairs.get(component) for component in COMPONENTS):
        report.notes = [*report.notes, "the graph was not judged alone: its weights were not read"]
        return
    photos = [answer.photo for answer in answers]
    asked = [*photos[:1], *[photo for photo in photos[1:] if is_strip(photo.name)][:1]]
    own = restored(model, [found for each in pairs.values() for found in each.values()])
    with (
        ReferenceRunner(own) as reference,
        reference_answers(reference, PhotoSet(asked, []), slots=runner.contract.slots) as given,
    ):
        findings = compare_runner(runner, given)
    made = [
        _renamed(check)
        for check in checks(findings, row)
        if check.metric in METRICS and check.stage in STAGES
    ]
    report.checks = [*report.checks, *made]
    failed = reasons(made)
    if failed:
        report.reasons = [*report.reasons, *failed]
        report.verdict = "FAIL"


def _renamed(check: Check) -> Check:
    return check.model_copy(update={"metric": f"own_weights_{check.metric}"})
