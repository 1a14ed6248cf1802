"""One call from weights to bundles: converted side by side, each written whole or not at all."""

import os
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from filelock import Timeout

from converters.bundle import Bundle, WeightsRecord
from converters.calibration import MIN_MAX, CalibrationOptions, calibration_photos
from converters.contract import DEFAULT_SLOTS, INPUT_VARIANTS, Contract
from converters.coreml_options import CoreMLOptions
from converters.distilled import Distilled, DistilledRecord, read_distilled
from converters.modules import refuse_train_mode
from converters.plan import Plan
from converters.process import Cancelled, ConversionError, convert_in_process
from converters.progress import BundleProgress
from converters.provenance import export_key, weights_record
from converters.schemes import ALL, COREML, MIXED, TARGETS, is_calibrated, require, resolve
from converters.selection import check_method, check_options, one_of, planned, runnable
from converters.worker import Task
from converters.workspace import cannot_write, locked, prepare_out, replacing
from mobilesam.errors import BundleError, ExportError, InputError
from mobilesam.sam import MobileSAM
from mobilesam.variants import load_model

DEFAULT_OUT = "exports"
DEFAULT_JOBS = 2
"""Conversions at a time. Each needs a core and 1 to 3 GB of memory."""

DEFAULT_COREML = CoreMLOptions()
SLOT_LIMITS = (2, 64)
"""A single point takes two slots: itself and SAM's padding point."""


@dataclass(frozen=True)
class ExportResult:
    """One bundle: where it is, whether it was recognised as unchanged, and how long it took."""

    path: Path
    target: str
    scheme: str
    skipped: bool
    seconds: float


def export(
    *,
    targets: Sequence[str] = (ALL,),
    schemes: Sequence[str] | None = None,
    weights: str | Path = "demo",
    out: str | Path = DEFAULT_OUT,
    image_size: int = 1024,
    input_variant: str = "pixels",
    slots: int = DEFAULT_SLOTS,
    coreml: CoreMLOptions = DEFAULT_COREML,
    calibration: str | Path | None = None,
    calibration_method: str = MIN_MAX,
    distilled: str | Path | None = None,
    force: bool = False,
    progress: bool = True,
    jobs: int | None = None,
) -> list[ExportResult]:
    """Export weights to bundles ``OUT/<target>-<scheme>/``.

    Args:
        targets: names from :data:`converters.schemes.TARGETS`, or ``all``.
        schemes: names of schemes, or ``all``; None: every scheme of each target. A path that ends
            in ``.toml`` is a scheme file (:mod:`converters.plan`), exported to
            ``OUT/<target>-<name of the file>/``.
        weights: as :func:`mobilesam.load_model` takes them.
        out: folder for the bundles; created.
        image_size: S, a multiple of 16, at least 64.
        input_variant: ``pixels`` (the graph normalises) or ``normalized`` (the app does).
        slots: K, point slots of the decoder, 2 to 64.
        coreml: what Core ML packages are to be like.
        calibration: folder of photos for the schemes that are calibrated on photos; None: those of
            scikit-image that bundles are not judged on.
        calibration_method: how ranges are found, see
            :class:`converters.calibration.CalibrationOptions`.
        distilled: file of weights that were distilled from ``weights`` for the scheme that is
            exported; the encoder's files are made of them (:mod:`converters.distilled`).
        force: export even what is unchanged.
        progress: show progress, and the log of what fails, on standard error.
        jobs: conversions at a time.

    Returns:
        One result a bundle, in the table's order.

    Raises:
        InputError: an argument has no such value; nothing was written.
        CheckpointError: the weights cannot be loaded; nothing was written.
        MissingDependencyError: a converter is not installed; nothing was written.
        ExportError: a conversion failed. The other bundles were still finished; of the failed one
            nothing was written, and an earlier one is still in place.
    """
    named, plan = planned(targets, schemes)
    chosen = [(plan[1].target, MIXED)] if plan else []
    if plan is None or named:
        chosen += runnable(resolve(targets, named), named, coreml.ios)
    for target in dict.fromkeys(target for target, _ in chosen):
        require(target)
    variant = one_of("input_variant", input_variant, INPUT_VARIANTS)
    low, high = SLOT_LIMITS
    if not low <= slots <= high:
        raise InputError(f"slots must be {low} to {high}, not {slots}")
    check_options(chosen, coreml, variant, jobs)
    tuned = None if distilled is None else read_distilled(Path(distilled))
    model = load_model(weights, image_size=image_size)
    contract = Contract.of(model, input_variant=variant, slots=slots)
    folders = {
        (t, s): Path(out) / f"{t}-{plan[0] if plan and s == MIXED else s}" for t, s in chosen
    }
    return export_all(
        model,
        contract,
        folders,
        coreml=coreml,
        calibration=calibration,
        calibration_method=calibration_method,
        plan=plan and plan[1],
        distilled=tuned,
        force=force,
        progress=progress,
        jobs=jobs,
    )


def export_one(
    model: MobileSAM,
    target: str,
    scheme: str,
    contract: Contract,
    folder: str | Path,
    *,
    coreml: CoreMLOptions = DEFAULT_COREML,
    force: bool = False,
    progress: bool = False,
) -> ExportResult:
    """Export a model that is already loaded to one bundle.

    Args:
        model: in eval mode.
        target, scheme: a row of the table.
        contract: as ``Contract.of(model)`` gives it.
        folder: the bundle folder itself; created, or replaced if it is a bundle.
        coreml, force, progress: as in :func:`export`.

    Raises:
        InputError, MissingDependencyError, ExportError: as in :func:`export`; ExportError also
            when the model is in train mode.
    """
    resolve([target], [scheme])
    require(target)
    folders = {(target, scheme): Path(folder)}
    return export_all(model, contract, folders, coreml=coreml, force=force, progress=progress)[0]


def export_all(
    model: MobileSAM,
    contract: Contract,
    folders: Mapping[tuple[str, str], Path],
    *,
    coreml: CoreMLOptions = DEFAULT_COREML,
    calibration: str | Path | None = None,
    calibration_method: str = MIN_MAX,
    plan: Plan | None = None,
    distilled: Distilled | None = None,
    force: bool = False,
    progress: bool = False,
    jobs: int | None = None,
) -> list[ExportResult]:
    """Export a model that is already loaded to several bundles side by side.

    Args:
        folders: the bundle folder of each (target, scheme), which must be rows of the table, or
            the plan's target and scheme ``mixed``.
        plan: of scheme ``mixed``.
        distilled: what the encoders are made of in place of the model's.
        model, contract, coreml, calibration, calibration_method, force, progress, jobs: as in
            :func:`export_one` and :func:`export`.

    Returns:
        One result a bundle, in the order of ``folders``.

    Raises:
        InputError, ExportError: as in :func:`export_one`.
    """
    check_options(folders, coreml, contract.input_variant, jobs)
    refuse_train_mode(model)
    weights = weights_record(model)
    tuned = model if distilled is None else distilled.tuned(model, weights.sha256, folders, plan)
    calibrating = CalibrationOptions(
        folder=None if calibration is None else Path(calibration).resolve(),
        method=calibration_method,
    )
    calibrated = [p for p in folders if is_calibrated(*p, plan if p[1] == MIXED else None)]
    check_method([target for target, _ in calibrated], calibration_method)
    if calibrated:
        calibration_photos(calibrating.folder)  # an unusable folder is an error before the work
    cores = os.cpu_count() or 1
    workers = min(jobs or min(DEFAULT_JOBS, cores), len(folders))
    created = [
        parent
        for folder in folders.values()
        for parent in folder.absolute().parents
        if not parent.exists()
    ]
    try:
        for out in dict.fromkeys(folder.parent for folder in folders.values()):
            prepare_out(out)
        with (
            tempfile.TemporaryDirectory(prefix="mobilesam-export-") as scratch,
            BundleProgress([f"{t}-{s}" for t, s in folders], enabled=progress) as lines,
        ):
            session = _Session(
                model=model,
                weights=weights,
                contract=contract,
                coreml=coreml,
                calibration=calibrating,
                plan=plan,
                distilled=None if distilled is None else distilled.record,
                force=force,
                scratch=Path(scratch),
                threads=max(1, cores // workers),
                lines=lines,
                stop=threading.Event(),
            )
            _hand_over(tuned, session.model_file)
            return _run_all(session, folders, workers)
    finally:
        for parent in created:
            with suppress(OSError):  # not empty: something was exported
                parent.rmdir()


@dataclass(frozen=True, kw_only=True)
class _Session:
    """What the exports of one call share."""

    model: MobileSAM
    weights: WeightsRecord
    contract: Contract
    coreml: CoreMLOptions
    calibration: CalibrationOptions
    plan: Plan | None
    distilled: DistilledRecord | None
    force: bool
    scratch: Path
    threads: int
    lines: BundleProgress
    stop: threading.Event

    @property
    def model_file(self) -> Path:
        return self.scratch / "model.pt"

    def contract_of(self, target: str) -> Contract:
        """The contract of a target's bundles."""
        if target != COREML:
            return self.contract
        return replace(self.contract, slot_counts=self.coreml.slot_counts(self.contract.slots))

    def export(self, target: str, scheme: str, folder: Path) -> ExportResult:
        """Convert to one bundle, or recognise it as unchanged."""
        name = f"{target}-{scheme}"
        self.lines.start(name)
        begin = time.monotonic()
        contract = self.contract_of(target)
        key = export_key(
            self.model,
            self.weights,
            contract,
            target,
            scheme,
            self.coreml,
            self.calibration,
            self._plan(scheme),
            self.distilled,
        )
        try:
            with locked(folder, self.stop.is_set):
                skipped = not self.force and _is_unchanged(folder, key)
                if not skipped:
                    with replacing(folder) as partial:
                        convert_in_process(
                            self._task(target, scheme, partial), self.scratch, self.stop.is_set
                        )
        except ConversionError as error:
            self.lines.finish(name, "[red]failed")
            self.lines.show_log(name, error.log_tail)
            raise
        except OSError as error:
            if isinstance(error, Timeout):
                raise Cancelled from None
            self.lines.finish(name, "[red]failed")
            raise ExportError(cannot_write(folder.parent, error)) from error
        self.lines.finish(name, "[green]unchanged" if skipped else "[green]done")
        return ExportResult(folder, target, scheme, skipped, time.monotonic() - begin)

    def _task(self, target: str, scheme: str, partial: Path) -> Task:
        return Task(
            target=target,
            scheme=scheme,
            contract=self.contract_of(target),
            weights=self.weights,
            coreml=self.coreml,
            model=self.model_file,
            folder=partial.resolve(),
            shared=self.scratch,
            outcome=self.scratch / f"{target}-{scheme}.outcome.json",
            threads=self.threads,
            calibration=self.calibration,
            plan=self._plan(scheme),
            distilled=self.distilled,
        )

    def _plan(self, scheme: str) -> Plan | None:
        return self.plan if scheme == MIXED else None


def _run_all(
    session: _Session, folders: Mapping[tuple[str, str], Path], workers: int
) -> list[ExportResult]:
    pool = ThreadPoolExecutor(workers, thread_name_prefix="export")
    futures: dict[tuple[str, str], Future[ExportResult]] = {}
    try:
        for pair in sorted(folders, key=_turn):
            futures[pair] = pool.submit(session.export, *pair, folders[pair])
        for future in as_completed(futures.values()):
            future.exception()
    finally:
        # Reached early only by an interrupt: end the children, and let the threads tidy up.
        session.stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
    failures = {pair: error for pair in folders if (error := futures[pair].exception())}
    if failures:
        (target, scheme), first = next(iter(failures.items()))
        if not isinstance(first, ExportError):
            raise first
        more = f" ({len(failures)} of {len(folders)} bundles failed)" if len(failures) > 1 else ""
        raise ConversionError(
            f"{target}-{scheme} was not exported: {first}{more}", getattr(first, "log_tail", "")
        ) from first
    return [futures[pair].result() for pair in folders]


def _hand_over(model: MobileSAM, path: Path) -> None:
    """Write the model for the workers, exactly as it is."""
    try:
        torch.save(model, path)
    except OSError as error:
        raise ExportError(cannot_write(path.parent, error)) from error
    except Exception as error:  # pickle and torch raise many kinds
        raise ExportError(
            f"the model cannot be handed to a converter process ({error}): it must be picklable, "
            f"and {path.parent} writable"
        ) from error


def _is_unchanged(folder: Path, key: str) -> bool:
    try:
        bundle = Bundle(folder)
        bundle.verify()
    except BundleError:
        return False
    return bundle.manifest.export_key == key


def _turn(pair: tuple[str, str]) -> tuple[int, int]:
    """The longest first; a target's further schemes later, since they may use the first's work."""
    target, scheme = pair
    row = TARGETS[target]
    return [*row.schemes, MIXED].index(scheme), -row.seconds
