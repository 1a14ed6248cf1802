"""Photos of a run shared among workers, each of which asks PyTorch and every bundle."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from mobilesam.engines.base import Engine, Job
from mobilesam.progress import Step
from mobilesam.runtimes.base import BundleRunner
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.checked import torch_threads
from mobilesam.runtimes.reference import ReferenceRunner
from mobilesam.runtimes.table import photos_asked
from mobilesam.weights.checkpoints import KEY_MARK, KNOWN_NAMES, split_key
from parity.findings import Findings, compare_runner
from parity.gallery import FIRST_ANSWERS
from parity.headroom import measure_headroom, telling
from parity.judging import (
    BundleRun,
    Failure,
    could_not_run,
    judge_findings,
    note_asked,
    open_on,
)
from parity.origin import Origin
from parity.photos import PhotoSet, StoredPhoto, is_strip, unusable_image
from parity.references import PhotoReference, reference_answers
from parity.schema import BundleReport, UnusableImage


class Numbered(NamedTuple):
    """A photo and its place in the run."""

    place: int
    photo: StoredPhoto


class RunFindings(NamedTuple):
    """What became of one bundle on one runtime.

    Attributes:
        engine: what computed; None where the bundle could not be opened.
        findings: what was measured, or what kept the runtime from answering.
    """

    engine: str | None
    findings: Findings | Failure


class PhotoFindings(NamedTuple):
    """What became of one photo.

    Attributes:
        runs: of each run that was to be asked about the photo, by the run's place.
        unusable: why the photo cannot be used any more; None where it can.
    """

    runs: Mapping[int, RunFindings]
    unusable: UnusableImage | None = None


@dataclass(frozen=True)
class PhotoJob(Job[Numbered, PhotoFindings]):
    """All that a worker needs to judge photos.

    Attributes:
        origin: of the reference model.
        runs: folder of each bundle, and the runtime that its files are run on.
        limits: of each run, the number of photos that it is asked about; None: all.
        slots: the most of any decoder that is judged.
        compute_units: for Core ML on a Mac.
    """

    origin: Origin
    runs: tuple[tuple[str, str], ...]
    limits: tuple[int | None, ...]
    slots: int
    compute_units: str | None

    @classmethod
    def of(cls, origin: Origin, runs: Sequence[BundleRun], compute_units: str | None) -> "PhotoJob":
        """The job of runs that have one reference, which workers find under absolute paths."""
        weights, key = split_key(origin.weights)
        if weights not in KNOWN_NAMES:
            weights = str(Path(weights).expanduser().absolute())
        return cls(
            replace(origin, weights=f"{weights}{KEY_MARK}{key}" if key else weights),
            tuple((str(run.bundle.path.absolute()), run.runtime) for run in runs),
            tuple(photos_asked(run.runtime, run.bundle.manifest.scheme.name) for run in runs),
            max(run.bundle.manifest.contract.slots for run in runs),
            compute_units,
        )

    @contextmanager
    def open(self) -> Iterator[Callable[[Numbered], PhotoFindings]]:
        """Load the reference and every bundle; one that cannot be loaded fails alone.

        Raises:
            CheckpointError: the reference's weights cannot be loaded.
        """
        with ExitStack() as opened:
            opened.enter_context(torch_threads(1))
            reference = opened.enter_context(ReferenceRunner(self.origin.load()))
            folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="mobilesam-")))
            runners = [self._opened(path, runtime, opened) for path, runtime in self.runs]

            def work(given: Numbered) -> PhotoFindings:
                return self._judged(given, reference, runners, folder)

            yield work

    def _opened(self, path: str, runtime: str, opened: ExitStack) -> BundleRunner | Failure:
        try:
            return opened.enter_context(open_on(Bundle(path), runtime, 1, self.compute_units))
        except Exception as error:  # whatever a runtime does, the other bundles are still judged
            return Failure.of(error)

    def _judged(
        self,
        given: Numbered,
        reference: ReferenceRunner,
        runners: Sequence[BundleRunner | Failure],
        folder: Path,
    ) -> PhotoFindings:
        assert given.photo.store is not None
        try:
            photo = given.photo.store(folder / "photo")
        except Exception as error:  # the file was read before: it is gone, or was changed
            return PhotoFindings({}, unusable_image(given.photo.name, error))
        found: dict[int, RunFindings] = {}
        with reference_answers(reference, PhotoSet([photo], []), slots=self.slots) as answers:
            for place, (runner, limit) in enumerate(zip(runners, self.limits, strict=True)):
                if limit is not None and given.place >= limit:
                    continue
                if isinstance(runner, Failure):
                    found[place] = RunFindings(None, runner)
                    continue
                try:
                    own = compare_runner(runner, answers)
                    found[place] = RunFindings(runner.engine, _of(own, given.photo))
                except Exception as error:
                    found[place] = RunFindings(runner.engine, Failure.of(error))
        return PhotoFindings(found)


def _of(findings: Findings, photo: StoredPhoto) -> Findings:
    """The findings with the parent's photo in place of the one that a worker keeps."""
    if findings.worst is not None:
        findings.worst = replace(findings.worst, photo=photo)
    return findings


def shared_findings(
    engine: Engine, job: PhotoJob, photos: PhotoSet, advance: Step = lambda _: None
) -> list[RunFindings]:
    """Judge every photo by an engine's workers.

    Args:
        engine: where the work is done.
        job: the work.
        photos: of the run; one that cannot be read any more joins the unusable ones.
        advance: called with each photo's name as it is finished.

    Returns:
        Of each of the job's runs what all photos together say, the same in whatever order
        they are finished.
    """
    items = [Numbered(place, photo) for place, photo in enumerate(photos.photos)]
    finished: dict[int, PhotoFindings] = {}
    with engine.run(job, items) as results:
        for item, result in results:
            advance(item.photo.name)
            finished[item.place] = result
    for place in sorted(finished):
        lost = finished[place].unusable
        if lost is not None and lost not in photos.unusable:
            photos.unusable.append(lost)
    return [_joined(run, finished) for run in range(len(job.runs))]


def _joined(run: int, finished: Mapping[int, PhotoFindings]) -> RunFindings:
    """One run's findings of all photos, in the photos' order; the first failure ends them."""
    whole, engine = Findings(), None
    for place in sorted(finished):
        own = finished[place].runs.get(run)
        if own is None:
            continue
        engine = engine or own.engine
        if isinstance(own.findings, Failure):
            return RunFindings(engine, own.findings)
        whole.add(own.findings)
    return RunFindings(engine, whole)


def still_needed(photos: PhotoSet, found: Sequence[RunFindings]) -> PhotoSet:
    """The photos that the parent itself asks the reference about, in the run's order.

    These are the first ones, of which pictures are drawn, the strips, and for each run the first
    with an output that is not finite, on which its ops are watched.
    """
    names = [photo.name for photo in photos.photos]
    own = [name for name in names if not is_strip(name)]
    wanted = {*own[:FIRST_ANSWERS], *[name for name in names if is_strip(name)]}
    for run in found:
        if isinstance(run.findings, Failure):
            continue
        decoded = [each for each in run.findings.cases if each.stage == "decoder"]
        for judged in (run.findings.encoder, decoded):
            wanted.update([each.image for each in judged if not each.finite][:1])
    return PhotoSet([each for each in photos.photos if each.name in wanted], photos.unusable)


def judge_found(
    report: BundleReport,
    run: BundleRun,
    found: RunFindings,
    answers: Sequence[PhotoReference],
    photos: Sequence[StoredPhoto],
    compute_units: str | None,
) -> None:
    """Judge one intact bundle by what workers measured of it.

    Args:
        report: of the bundle, to be filled.
        run: the bundle and its limits.
        found: what they measured.
        answers: the reference's, to the photos that tell why an output is not finite.
        photos: of the run.
        compute_units: for Core ML on a Mac.
    """
    report.engine, findings = found.engine or report.engine, found.findings
    try:
        if isinstance(findings, Failure):
            could_not_run(report, findings)
        else:
            judge_findings(report, findings, run.row)
            with run.open(1, compute_units) as runner:
                shown_on = telling(answers, findings.encoder, findings.cases)
                report.headroom = measure_headroom(runner, shown_on)
    except Exception as error:  # whatever a runtime does, the other bundles are still judged
        could_not_run(report, Failure.of(error))
    most = photos_asked(run.runtime, run.bundle.manifest.scheme.name)
    note_asked(report, photos[:most], len(photos))
