"""Do exported files still draw PyTorch's masks? Bundles in, one report with their verdicts out."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from mobilesam.data.sample_photos import PHOTOS
from mobilesam.engines.table import engine_of
from mobilesam.errors import BundleError, InputError
from mobilesam.model.sam import MobileSAM
from mobilesam.progress import Progress
from mobilesam.runtimes import runner_class
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.reference import ReferenceRunner
from mobilesam.runtimes.table import RUNNERS, files_of
from parity.audits import add_audits
from parity.bundles import BundleSource, open_bundles
from parity.cases import default_photos
from parity.cost.load import BUSY_CORES
from parity.cost.measure import bundle_job, measure_in_turns, reference_job, steps
from parity.framing import framed
from parity.gallery import draw_gallery, first_answers
from parity.image_folder import folder_photos
from parity.judging import BundleRun, check_run, empty_report, judge_graph, judge_run
from parity.naming import Named, distinct_names
from parity.origin import Origin
from parity.photo_job import PhotoJob, judge_found, shared_findings, still_needed
from parity.photos import stored_photos
from parity.references import reference_answers
from parity.report import Report
from parity.schema import BundleReport
from parity.thresholds import Thresholds


def compare(
    bundles: BundleSource | Sequence[BundleSource],
    *,
    runtimes: Sequence[str] | None = None,
    images: str | Path | None = None,
    thresholds: str | Path | None = None,
    weights: str | Path | None = None,
    threads: int | None = None,
    measure: bool = True,
    compute_units: str | None = None,
    gallery: bool = False,
    skip_unusable: bool = False,
    engine: str | None = None,
    workers: int | None = None,
    ray_address: str | None = None,
    progress: bool = True,
    command: str = "",
) -> Report:
    """Judge bundles against the PyTorch model they were exported from.

        report = compare("exports/tflite-fp16", images="photos")
        report.save("reports")
        assert report.passed

    A bundle whose files were altered, whose weights are not the reference's, or that fails while
    it runs gets the verdict FAIL with the reason, and the others are judged all the same.

    Args:
        bundles: one or several, opened or as their folders; also folders that hold bundles.
        runtimes: names of :data:`mobilesam.runtimes.table.RUNNERS` to run them on; None: every
            one that a bundle's manifest names. Bundles without files for any are left out, and
            the report says so.
        images: folder of photos instead of the built-in ones.
        thresholds: TOML file instead of ``parity/thresholds.toml``.
        weights: of the reference; None takes what each manifest names.
        threads: threads of every runtime; None leaves their defaults and measures with one for
            each core.
        measure: also take load time, latency and memory, each in a process of its own.
        compute_units: for Core ML on a Mac.
        gallery: also draw what the weights make of the built-in photos; where bundles come from
            several weights, those of the first.
        skip_unusable: go on without photos that cannot be used; the report lists them.
        engine: shares the photos of large sets: "local", among processes of this machine with one
            thread each, or "ray", on a Ray cluster, every machine of which finds bundles, weights
            and photos under the same paths; None computes in this process.
        workers: of the engine; as many as there are cores unless given. Each opens every bundle,
            and how many there are changes no figure.
        ray_address: of the cluster, host and port; that in RAY_ADDRESS, or else a cluster of this
            machine alone, unless given.
        progress: show progress on the terminal.
        command: the command line that makes this report again, for the report to state.

    Returns:
        The report: ``report.passed`` tells whether every verdict passes, ``report.save(folder)``
        writes it as a page, Markdown, JSON and JUnit XML.

    Raises:
        BundleError: no bundle was given, one has no or a malformed manifest, or a file is missing.
        CheckpointError: the reference's weights cannot be loaded.
        InputError: the thresholds, runtimes or photos cannot be used; every photo that cannot is
            named, before any model or bundle is loaded.
        MissingDependencyError: a runtime that was asked for is not installed.
    """
    if engine is not None and threads is not None:
        raise InputError(f"workers of the engine '{engine}' have one thread each: drop --threads")
    sharing = engine_of(engine, workers=workers, address=ray_address)
    limits = Thresholds(None if thresholds is None else Path(thresholds))
    for runtime in runtimes or ():
        runner_class(runtime).require()
    found = open_bundles(bundles)
    runs = [run for bundle in found for run in _runs(bundle, limits, runtimes)]
    left_out = _without_runs(found, runs, runtimes)
    # Workers on other machines do not share this one's working folder.
    folder = None if images is None else Path(images).absolute() if engine else Path(images)
    given = default_photos() if folder is None else folder_photos(folder)
    origins = {run: Origin.of(run.bundle, weights) for run in runs}
    with Progress(progress) as shown, ExitStack() as opened:
        # Photos of any size come first: the report names these.
        frames = sorted({origin.photo_size for origin in origins.values()}, key=lambda s: s or ())
        with shown.task("photos", len(given) * len(frames)) as step:
            sizes = sorted({origin.image_size for origin in origins.values()})
            photos_of = {
                size: opened.enter_context(
                    stored_photos(
                        given if size is None else [framed(photo, size) for photo in given],
                        sizes,
                        skip_unusable=skip_unusable,
                        strips=size is None,  # those would be of another size
                        advance=step,
                    )
                )
                for size in frames
            }
        models = {origin: origin.load() for origin in dict.fromkeys(origins.values())}
        first = next(iter(models.values()))
        report = empty_report(photos_of[frames[0]], limits, first, command)
        judged: dict[BundleRun, BundleReport] = {}
        if gallery:
            with ReferenceRunner(first) as reference, shown.task("gallery", len(PHOTOS)) as step:
                report.gallery_photos = draw_gallery(reference, step)
        for origin, model in models.items():
            own = [run for run in runs if origins[run] == origin]
            judged |= {run: check_run(run, model) for run in own}
            intact = [run for run in own if not judged[run].reasons]
            if not intact:
                continue
            slots = max(run.bundle.manifest.contract.slots for run in intact)
            photos = asked = photos_of[origin.photo_size]
            found_by_workers = None
            if engine is not None:
                job = PhotoJob.of(origin, intact, compute_units)
                with shown.task("photos, shared", len(photos.photos)) as step:
                    found_by_workers = shared_findings(sharing, job, photos, step)
                asked = still_needed(photos, found_by_workers)
            with ReferenceRunner(model) as reference, ExitStack() as kept:
                with shown.task("PyTorch reference", len(asked.photos)) as step:
                    answers = kept.enter_context(
                        reference_answers(reference, asked, step, slots=slots)
                    )
                if images is not None or not gallery:  # else these photos are drawn already
                    report.gallery |= first_answers(answers)
                for place, run in enumerate(intact):
                    if found_by_workers is None:
                        judge_run(judged[run], run, answers, threads, compute_units, shown)
                    else:
                        own_found = found_by_workers[place]
                        judge_found(
                            judged[run], run, own_found, answers, photos.photos, compute_units
                        )
                    pairs = add_audits(judged[run], run.bundle, run.files, model)
                    judge_graph(
                        judged[run], run, limits, pairs, model, answers, threads, compute_units
                    )
        lost = [each for photos in photos_of.values() for each in photos.unusable]
        report.unusable_images = [each for i, each in enumerate(lost) if each not in lost[:i]]
        report.warnings += left_out
        report.bundles = [judged[run] for run in runs]
        if measure:
            _measure(report, runs, *next(iter(models.items())), threads, compute_units, shown)
    return report


def _runs(bundle: Bundle, limits: Thresholds, asked: Sequence[str] | None) -> list[BundleRun]:
    """The bundle on each of its runtimes, or on those of the asked ones that run its files."""
    target, scheme = bundle.manifest.target, bundle.manifest.scheme.name
    runtimes: Sequence[str] = bundle.runtimes
    if asked is not None:
        runtimes = [runtime for runtime in asked if files_of(runtime) in bundle.runtimes]
    return [BundleRun(bundle, runtime, limits.row(target, scheme, runtime)) for runtime in runtimes]


def _without_runs(
    bundles: Sequence[Bundle], runs: Sequence[BundleRun], asked: Sequence[str] | None
) -> list[str]:
    """A sentence, where bundles have no files for a runtime that was asked for.

    Raises:
        BundleError: none of them has.
    """
    without = [b for b in bundles if not any(run.bundle is b for run in runs)]
    if not without:
        return []
    listed = ", ".join(asked or ())
    if not runs:
        raise BundleError(
            f"{without[0].path} has no files for {listed}, only for "
            f"{', '.join(without[0].runtimes)}"
        )
    names = ", ".join(bundle.name for bundle in without)
    return [f"Not judged, having no files for {listed}: {names}."]


def _measure(
    report: Report,
    runs: Sequence[BundleRun],
    origin: Origin,
    model: MobileSAM,
    threads: int | None,
    compute_units: str | None,
    shown: Progress,
) -> None:
    """Add what loading and running costs, where a bundle could be run at all."""
    names = distinct_names([Named(own.bundle, own.path) for own in report.bundles])
    runnable = [
        (own, bundle_job(run.bundle, run.runtime, compute_units, f"{name} on {run.runtime}"))
        for run, own, name in zip(runs, report.bundles, names, strict=True)
        if own.cases and RUNNERS[run.runtime].photos is None  # an emulator's times say nothing
    ]
    reference = reference_job(origin.taken(model), origin.variant, origin.image_size)
    jobs = [reference, *(job for _, job in runnable)]
    with shown.task("latency and memory", steps(len(jobs))) as step:
        costs = measure_in_turns(jobs, threads, step=step)
    if isinstance(costs.found[0], BundleError):  # the verdicts stand without it
        report.machine["PyTorch's latency"] = f"not measured: {costs.found[0]}"
    else:
        report.reference = costs.found[0]
    for (own, _), taken in zip(runnable, costs.found[1:], strict=True):
        if isinstance(taken, BundleError):
            own.verdict = "FAIL"
            own.reasons.append(f"could not be measured: {taken}")
        else:
            own.measurements = taken
    if costs.others is not None and costs.others > BUSY_CORES:
        report.warnings.append(
            f"While latencies were measured, other programs kept {costs.others:.1f} of this "
            "machine's cores busy: the times are longer and less certain than on an idle one."
        )
