"""One call from weights to bundles: converted side by side, each written whole or not at all."""

import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from converters.calibration import MIN_MAX, CalibrationOptions, calibration_photos
from converters.coreml.options import CoreMLOptions
from converters.lookup import is_calibrated, require, resolve
from converters.modules import refuse_train_mode
from converters.plan import Plan
from converters.progress import BundleProgress
from converters.provenance import weights_record
from converters.schemes import ALL, MIXED
from converters.selection import check_method, check_options, one_of, planned, runnable
from converters.session import ExportResult, Session, hand_over, run_all
from converters.tflite.distilled import Distilled, read_distilled
from converters.workspace import prepare_out
from mobilesam.bundle.contract import DEFAULT_SLOTS, INPUT_VARIANTS, Contract
from mobilesam.cores import available_cores
from mobilesam.errors import InputError
from mobilesam.model.build import load_model
from mobilesam.model.sam import MobileSAM

DEFAULT_OUT = "exports"
DEFAULT_JOBS = 2
"""Conversions at a time. Each needs a core and 1 to 3 GB of memory."""

DEFAULT_COREML = CoreMLOptions()
SLOT_LIMITS = (2, 64)
"""A single point takes two slots: itself and SAM's padding point."""


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
            exported; the encoder's files are made of them (:mod:`converters.tflite.distilled`).
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
    cores = available_cores()
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
            session = Session(
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
            hand_over(tuned, session.model_file)
            return run_all(session, folders, workers)
    finally:
        for parent in created:
            with suppress(OSError):  # not empty: something was exported
                parent.rmdir()
