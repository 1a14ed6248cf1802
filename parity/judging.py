"""One bundle on one runtime judged: from intact files to numbers, checks and a verdict."""

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

import torch

from mobilesam import __version__
from mobilesam.bundle.contract import Component
from mobilesam.bundle.prompt_types import PROMPT_TYPES
from mobilesam.cores import available_cores
from mobilesam.errors import RefusedError
from mobilesam.inference.drawing import data_uri, draw_case
from mobilesam.model.sam import MobileSAM
from mobilesam.progress import Progress, Step
from mobilesam.runtimes import open_runner
from mobilesam.runtimes.base import BundleRunner
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.table import files_of, hardware_of, photos_asked
from mobilesam.weights.checkpoints import WeightsInfo
from parity.cases import DEGENERATE_RULE
from parity.checks import checks, equality, reasons
from parity.description import description_differences
from parity.findings import Findings, compare_runner
from parity.headroom import measure_headroom, telling
from parity.hidden_faults import hidden_faults
from parity.own_weights import judge_own_weights
from parity.photo_sizes import judge_photo_sizes
from parity.photos import PhotoSet, StoredPhoto, is_strip, left_out, read_pixels
from parity.references import PhotoReference
from parity.report import Report
from parity.schema import BundleReport, Check
from parity.thresholds import Row, Thresholds
from parity.weight_audit.matching import Pairs


class Weighted(Protocol):
    """What a bundle's weights are compared with: a model, or the record of one in a replay pack."""

    @property
    def weights(self) -> WeightsInfo | None:
        """Of the model; None if none were loaded."""


@dataclass(frozen=True, eq=False)
class BundleRun:
    """One bundle on one runtime, and what it is held against."""

    bundle: Bundle
    runtime: str
    row: Row

    @property
    def files(self) -> str:
        """The runtime, as the manifest names it, whose files are run."""
        return files_of(self.runtime)

    def open(self, threads: int | None, compute_units: str | None) -> BundleRunner:
        """The bundle's runner, to be opened by ``with``."""
        return open_on(self.bundle, self.runtime, threads, compute_units)


class Failure(NamedTuple):
    """What kept a runtime from answering.

    Attributes:
        reason: in words.
        refused: what the runtime does not take; empty where it failed otherwise.
    """

    reason: str
    refused: str = ""

    @classmethod
    def of(cls, error: Exception) -> "Failure":
        refused = error.what if isinstance(error, RefusedError) else ""
        return cls(str(error) or type(error).__name__, refused)


def check_run(run: BundleRun, model: Weighted) -> BundleReport:
    """A report with the verdict FAIL; one without reasons is of an intact bundle, to be run."""
    report = empty_bundle_report(run)
    report.checks = _integrity(run, model)
    report.reasons = reasons(report.checks)
    return report


def judge_run(
    report: BundleReport,
    run: BundleRun,
    answers: Sequence[PhotoReference],
    threads: int | None,
    compute_units: str | None,
    shown: Progress,
) -> None:
    """Judge one intact bundle on one runtime; what it raises becomes the reason of a FAIL.

    A slow runtime is asked about the first photos only, and the report says so.
    """
    asked = answers[: photos_asked(run.runtime, run.bundle.manifest.scheme.name)]
    judge_opened(report, lambda: run.open(threads, compute_units), asked, run.row, shown)
    note_asked(report, [answer.photo for answer in asked], len(answers))


def note_asked(report: BundleReport, asked: Sequence[StoredPhoto], photos: int) -> None:
    """Say of a slow runtime which of so many photos it was asked about, where it was not all."""
    if len(asked) < photos:
        names = ", ".join(photo.name for photo in asked)
        report.notes.append(
            f"{len(asked)} of {photos} images were asked on this slow runtime: {names}."
        )


def judge_graph(
    report: BundleReport,
    run: BundleRun,
    limits: Thresholds,
    pairs: dict[Component, Pairs],
    model: MobileSAM,
    answers: Sequence[PhotoReference],
    threads: int | None,
    compute_units: str | None,
) -> None:
    """Judge the graph of a bundle that passes so far, whatever its weights.

    Where it makes masks of a photo's size, with other sizes (:mod:`parity.photo_sizes`); where its
    scheme changes weights alone, against PyTorch with its files' own (:mod:`parity.own_weights`).
    """
    scheme = run.row.own_weights
    manifest = run.bundle.manifest
    if report.verdict == "FAIL" or (scheme is None and manifest.interface != "sam"):
        return
    try:
        with run.open(threads, compute_units) as runner:
            asked = answers[: photos_asked(run.runtime, manifest.scheme.name)]
            judge_photo_sizes(report, runner, asked)
            if scheme is not None:
                row = limits.row(manifest.target, scheme, run.runtime)
                judge_own_weights(report, runner, pairs, model, asked, row)
    except Exception as error:  # whatever a runtime does, the other bundles are still judged
        could_not_run(report, Failure.of(error))


def judge_opened(
    report: BundleReport,
    opened: Callable[[], BundleRunner],
    answers: Sequence[PhotoReference],
    row: Row,
    shown: Progress,
) -> None:
    """Judge the runner that ``opened`` makes; what it raises becomes the reason of a FAIL."""
    title = f"{report.bundle} on {report.runtime}"
    try:
        with opened() as runner, shown.task(title, len(answers)) as step:
            report.engine = runner.engine
            findings = judge_runner(report, runner, answers, row, step)
            shown_on = telling(answers, findings.encoder, findings.cases)
            report.headroom = measure_headroom(runner, shown_on)
    except Exception as error:  # whatever a runtime does, the other bundles are still judged
        could_not_run(report, Failure.of(error))


def could_not_run(report: BundleReport, failure: Failure) -> None:
    """Let a bundle fail for what kept its runtime from answering."""
    report.verdict = "FAIL"
    report.refused = failure.refused
    report.reasons.append(f"could not be run: {failure.reason}")


def open_on(
    bundle: Bundle, runtime: str, threads: int | None, compute_units: str | None
) -> BundleRunner:
    """A bundle's runner, to be opened by ``with``; the compute units are Core ML's alone."""
    if runtime == "coreml" and compute_units is not None:
        return open_runner(bundle, runtime, threads=threads, compute_units=compute_units)
    return open_runner(bundle, runtime, threads=threads)


def judge_runner(
    report: BundleReport,
    runner: BundleRunner,
    answers: Sequence[PhotoReference],
    row: Row,
    step: Step = lambda _: None,
) -> Findings:
    """Ask an opened runner every case; write numbers, checks, verdict and picture to its report."""
    findings = compare_runner(runner, answers, step)
    judge_findings(report, findings, row)
    return findings


def judge_findings(report: BundleReport, findings: Findings, row: Row) -> None:
    """Write what was measured of a bundle to its report: numbers, checks, verdict and picture."""
    report.encoder, report.cases = findings.encoder, findings.cases
    report.notes = findings.skipped
    report.checks = [*report.checks, *checks(findings, row)]
    report.reasons = reasons(report.checks)
    report.verdict = "FAIL" if report.reasons else "PASS"
    if findings.worst is not None:
        worst = findings.worst
        report.worst_case = f"{worst.case.image}, {worst.case.name}"
        pixels = read_pixels(worst.photo)
        if pixels is not None:
            masks = worst.reference_mask, worst.exported_mask
            report.worst_picture = data_uri(draw_case(pixels, worst.case.prompt, *masks))


def _integrity(run: BundleRun, model: Weighted) -> list[Check]:
    """Whether this is what was exported, from the weights it is compared to; nothing is run."""
    bundle = run.bundle
    altered = bundle.altered()
    where = "; ".join(
        f"{path} is not as exported, its SHA-256 differs from the manifest's" for path in altered
    )
    made = [equality("digest", "integrity", len(altered), 0, where)]
    stated = bundle.manifest.weights.sha256
    actual = model.weights.sha256 if model.weights else ""
    other = "" if stated == actual else f"exported from {stated[:12]}…, reference is {actual[:12]}…"
    made.append(equality("weights_digest", "integrity", int(stated != actual), 0, other))
    said = [*description_differences(bundle, run.files, altered)]
    return [*made, equality("description", "integrity", len(said), 0, "; ".join(said))]


def empty_bundle_report(run: BundleRun) -> BundleReport:
    """A bundle's row before anything was checked: FAIL, without reasons, checks or figures."""
    bundle, manifest = run.bundle, run.bundle.manifest
    return BundleReport(
        bundle=bundle.name,
        path=str(bundle.path),
        target=manifest.target,
        scheme=manifest.scheme.name,
        runtime=run.runtime,
        engine=run.runtime,
        hardware=hardware_of(run.runtime),
        manifest_sha256=bundle.manifest_sha256,
        weights=manifest.weights.name,
        image_size=manifest.image_size,
        verdict="FAIL",
        reasons=[],
        checks=[],
        size_bytes=bundle.component_sizes(run.files),
        least_tested=bundle.manifest.least_tested.get(run.runtime, ""),
    )


def empty_report(
    photos: PhotoSet, limits: Thresholds, model: Weighted, command: str = ""
) -> Report:
    """A report of this machine that has no bundle yet; its weights are the model's."""
    return Report(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        tool_version=__version__,
        machine={
            "system": f"{platform.system()} {platform.release()}",
            "processor": platform.processor() or platform.machine(),
            "cores": str(available_cores()),
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        weights=dict(vars(model.weights)) if model.weights else {},
        images=[photo.name for photo in photos.photos],
        unusable_images=photos.unusable,
        warnings=[*_few(photos), *hidden_faults(photos.photos)],
        prompt_types=list(PROMPT_TYPES),
        degenerate_rule=DEGENERATE_RULE,
        thresholds_file=limits.name,
        command=command,
        bundles=[],
    )


def _few(photos: PhotoSet) -> list[str]:
    """A sentence, where photos were left out."""
    own = [photo for photo in photos.photos if not is_strip(photo.name)]
    said = left_out(len(photos.unusable), len(own))
    return [f"{said}."] if said else []
