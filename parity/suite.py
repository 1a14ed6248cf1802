"""The whole run: bundles in, one report with a verdict for each out."""

import platform
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import torch

from mobilesam import __version__
from mobilesam.cores import available_cores
from mobilesam.data.sample_photos import PHOTOS
from mobilesam.errors import BundleError
from mobilesam.inference.drawing import data_uri, draw_case
from mobilesam.model.build import load_model
from mobilesam.progress import Progress, Step
from mobilesam.runtimes import open_runner
from mobilesam.runtimes.base import BundleRunner
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.reference import ReferenceRunner
from mobilesam.weights.checkpoints import KNOWN_NAMES, WeightsInfo
from parity.cases import DEGENERATE_RULE, PROMPT_TYPES, Photo, default_photos
from parity.command import command_line
from parity.cost.measure import measure_bundle, measure_reference
from parity.gallery import draw_gallery, first_answers
from parity.headroom import measure_headroom
from parity.image_folder import folder_photos
from parity.judge import Findings, judge
from parity.references import PhotoReference, reference_answers
from parity.schema import BundleReport, Check, ParityReport
from parity.thresholds import Row, Thresholds
from parity.verdict import checks, equality, reasons


class Weighted(Protocol):
    """A model, or what is left of one: it knows where its weights came from."""

    @property
    def weights(self) -> WeightsInfo | None:
        """Of the model; None if none were loaded."""


@dataclass(frozen=True)
class Entry:
    """One bundle on one runtime, and what it is held against."""

    bundle: Bundle
    runtime: str
    row: Row


@dataclass(frozen=True)
class Origin:
    """What a reference model is loaded from."""

    weights: str
    variant: str
    image_size: int

    @classmethod
    def of(cls, bundle: Bundle, weights: str | Path | None) -> "Origin":
        """Where a bundle's manifest says its weights came from, unless they are given."""
        manifest = bundle.manifest
        recorded = manifest.weights.name
        stated = recorded if recorded in KNOWN_NAMES else manifest.weights.source
        chosen = stated if weights is None else str(weights)
        return cls(chosen, manifest.variant, manifest.image_size)


def run_parity(
    bundles: Sequence[Path],
    *,
    images: Path | None = None,
    thresholds: Path | None = None,
    threads: int | None = None,
    weights: str | Path | None = None,
    measure: bool = True,
    progress: bool = True,
    compute_units: str | None = None,
    gallery: bool = False,
) -> ParityReport:
    """Judge bundles against the PyTorch model they were exported from.

    A bundle whose files were altered, whose weights are not the reference's, or that fails while
    it runs gets the verdict FAIL with the reason, and the others are judged all the same.

    Args:
        bundles: folders that hold a ``manifest.json``.
        images: folder of photos instead of the built-in ones.
        thresholds: TOML file instead of ``parity/thresholds.toml``.
        threads: threads of every runtime; None leaves their defaults and measures with one for
            each core.
        weights: of the reference; None takes what each manifest names.
        measure: also take load time, latency and memory, each in a process of its own.
        progress: show progress on the terminal.
        compute_units: for Core ML on a Mac.
        gallery: also draw what the weights make of the built-in photos; where bundles come from
            several weights, those of the first.

    Raises:
        BundleError: no bundle was given, one has no or a malformed manifest, or a file is missing.
        CheckpointError: the reference's weights cannot be loaded.
        InputError: the images or thresholds cannot be used.
    """
    if not bundles:
        raise BundleError("no bundle was given: name the folder of at least one")
    limits = Thresholds(thresholds)
    entries = [entry for path in bundles for entry in _entries(path, limits)]
    photos = default_photos() if images is None else folder_photos(images)
    models = {
        origin: load_model(origin.weights, origin.variant, origin.image_size)
        for origin in dict.fromkeys(Origin.of(entry.bundle, weights) for entry in entries)
    }
    first = next(iter(models.values()))
    report = empty_report(photos, limits, first)
    report.command = command_line(
        bundles,
        images=images,
        thresholds=thresholds,
        weights=weights,
        threads=threads,
        measure=measure,
        compute_units=compute_units,
        gallery=gallery,
    )
    judged: dict[Entry, BundleReport] = {}
    with Progress(progress) as shown:
        if gallery:
            with ReferenceRunner(first) as reference, shown.task("gallery", len(PHOTOS)) as step:
                report.gallery_photos = draw_gallery(reference, step)
        for origin, model in models.items():
            own = [entry for entry in entries if Origin.of(entry.bundle, weights) == origin]
            judged |= {entry: check_entry(entry, model) for entry in own}
            intact = [entry for entry in own if not judged[entry].reasons]
            if not intact:
                continue
            with ReferenceRunner(model) as reference, ExitStack() as kept:
                with shown.task("PyTorch reference", len(photos)) as step:
                    answers = kept.enter_context(reference_answers(reference, photos, step))
                if images is not None or not gallery:  # else these photos are drawn already
                    report.gallery |= first_answers(answers)
                for entry in intact:
                    judge_entry(judged[entry], entry, answers, threads, compute_units, shown)
        report.bundles = [judged[entry] for entry in entries]
        if measure:
            _measure(report, entries, next(iter(models)), threads, compute_units, shown)
    return report


def _entries(path: Path, limits: Thresholds) -> list[Entry]:
    bundle = Bundle(path)
    bundle.require_files()
    row = limits.row(bundle.manifest.target, bundle.manifest.scheme.name)
    return [Entry(bundle, runtime, row) for runtime in bundle.runtimes]


def check_entry(entry: Entry, model: Weighted) -> BundleReport:
    """The beginning of a report: FAIL so far, with reasons why it must not be run, if any."""
    report = _empty_bundle_report(entry)
    report.checks = _integrity(entry, model)
    report.reasons = reasons(report.checks)
    return report


def judge_entry(
    report: BundleReport,
    entry: Entry,
    answers: Sequence[PhotoReference],
    threads: int | None,
    compute_units: str | None,
    shown: Progress,
) -> None:
    """Judge one intact bundle on one runtime; what it raises becomes the reason of a FAIL."""
    judge_opened(report, lambda: _open(entry, threads, compute_units), answers, entry.row, shown)


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
            judge_runner(report, runner, answers, row, step)
            report.headroom = measure_headroom(runner, answers[0])
    except Exception as error:  # whatever a runtime does, the other bundles are still judged
        report.verdict = "FAIL"
        report.reasons.append(f"could not be run: {error or type(error).__name__}")


def _open(entry: Entry, threads: int | None, compute_units: str | None) -> BundleRunner:
    if entry.runtime == "coreml" and compute_units is not None:
        return open_runner(
            entry.bundle, entry.runtime, threads=threads, compute_units=compute_units
        )
    return open_runner(entry.bundle, entry.runtime, threads=threads)


def judge_runner(
    report: BundleReport,
    runner: BundleRunner,
    answers: Sequence[PhotoReference],
    row: Row,
    step: Step = lambda _: None,
) -> Findings:
    """Ask an opened runner every case; write numbers, checks, verdict and picture to its report."""
    findings = judge(runner, answers, step)
    report.encoder, report.cases = findings.encoder, findings.cases
    report.notes = findings.skipped
    report.checks = [*report.checks, *checks(findings, row)]
    report.reasons = reasons(report.checks)
    report.verdict = "FAIL" if report.reasons else "PASS"
    if findings.worst is not None:
        worst = findings.worst
        report.worst_case = f"{worst.case.image}, {worst.case.name}"
        photo = answers[worst.photo].photo.load()
        picture = draw_case(photo, worst.case.prompt, worst.reference_mask, worst.exported_mask)
        report.worst_picture = data_uri(picture)
    return findings


def _integrity(entry: Entry, model: Weighted) -> list[Check]:
    """Whether this is what was exported, from the weights it is compared to; nothing is run."""
    bundle = entry.bundle
    altered = bundle.altered()
    where = "; ".join(
        f"{path} is not as exported, its SHA-256 differs from the manifest's" for path in altered
    )
    made = [equality("digest", "integrity", len(altered), 0, where)]
    stated = bundle.manifest.weights.sha256
    actual = model.weights.sha256 if model.weights else ""
    other = "" if stated == actual else f"exported from {stated[:12]}…, reference is {actual[:12]}…"
    return [*made, equality("weights_digest", "integrity", int(stated != actual), 0, other)]


def _measure(
    report: ParityReport,
    entries: Sequence[Entry],
    origin: Origin,
    threads: int | None,
    compute_units: str | None,
    shown: Progress,
) -> None:
    """Add what loading and running costs, where a bundle could be run at all."""
    runnable = [
        (entry, own) for entry, own in zip(entries, report.bundles, strict=True) if own.cases
    ]
    with shown.task("latency and memory", 1 + len(runnable)) as step:
        step("PyTorch")
        try:
            report.reference = measure_reference(
                origin.weights, origin.variant, origin.image_size, threads
            )
        except BundleError as error:  # the verdicts stand without it
            report.machine["PyTorch's latency"] = f"not measured: {error}"
        for entry, own in runnable:
            step(f"{entry.bundle.name} on {entry.runtime}")
            try:
                own.measurements = measure_bundle(
                    entry.bundle, entry.runtime, threads, compute_units
                )
            except BundleError as error:
                own.verdict = "FAIL"
                own.reasons.append(f"could not be measured: {error}")


def _empty_bundle_report(entry: Entry) -> BundleReport:
    bundle, manifest = entry.bundle, entry.bundle.manifest
    return BundleReport(
        bundle=bundle.name,
        path=str(bundle.path),
        target=manifest.target,
        scheme=manifest.scheme.name,
        runtime=entry.runtime,
        engine=entry.runtime,
        weights=manifest.weights.name,
        image_size=manifest.image_size,
        verdict="FAIL",
        reasons=[],
        checks=[],
        size_bytes=bundle.component_sizes(entry.runtime),
    )


def empty_report(photos: Sequence[Photo], limits: Thresholds, model: Weighted) -> ParityReport:
    """A report of this machine that has no bundle yet; its weights are the model's."""
    return ParityReport(
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
        images=[photo.name for photo in photos],
        prompt_types=list(PROMPT_TYPES),
        degenerate_rule=DEGENERATE_RULE,
        thresholds_file=str(limits.path),
        bundles=[],
    )
