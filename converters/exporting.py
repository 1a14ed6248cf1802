"""One call from weights to bundles: converted side by side, each written whole or not at all."""

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from converters.calibration import calibration_photos, usable_names
from converters.lookup import is_calibrated, require, resolve
from converters.modules import refuse_train_mode
from converters.progress import BundleProgress
from converters.provenance import weights_record
from converters.schemes import ALL, MIXED
from converters.selection import (
    check_half_embedding,
    check_method,
    check_photo_size,
    offered,
    one_of,
    options_of,
    planned,
    within_limits,
)
from converters.session import ExportResult, Session, hand_over, run_all
from converters.spec import MIN_MAX, CalibrationOptions, ExportSpec, TargetOptions
from converters.tflite.distilled import read_distilled
from converters.workspace import prepare_out, scratch_folder
from mobilesam.bundle.contract import (
    DEFAULT_SLOTS,
    EMBEDDING_TYPES,
    INPUT_VARIANTS,
    MASKS,
    Contract,
)
from mobilesam.cores import available_cores
from mobilesam.errors import InputError
from mobilesam.inference.transforms import CHANNEL_ORDERS
from mobilesam.model.build import load_model
from mobilesam.model.sam import MobileSAM

DEFAULT_OUT = "exports"
DEFAULT_JOBS = 2
"""Conversions at a time. Each needs a core and 1 to 3 GB of memory."""

DEFAULT_SIZE = 1024
SLOT_LIMITS = (2, 64)
"""A single point takes two slots: itself and SAM's padding point."""

NO_OPTIONS: Mapping[str, TargetOptions] = {}


def export(
    weights: MobileSAM | str | Path = "demo",
    *,
    targets: str | Sequence[str] = ALL,
    schemes: str | Sequence[str] | None = None,
    out: str | Path = DEFAULT_OUT,
    image_size: int | None = None,
    input_variant: str = "pixels",
    channel_order: str = "rgb",
    masks: str = "low_res",
    photo_size: tuple[int, int] | None = None,
    embedding_type: str = "float32",
    slots: int = DEFAULT_SLOTS,
    options: Mapping[str, TargetOptions] = NO_OPTIONS,
    calibration: str | Path | None = None,
    calibration_method: str = MIN_MAX,
    distilled: str | Path | None = None,
    force: bool = False,
    progress: bool = True,
    jobs: int | None = None,
) -> list[ExportResult]:
    """Export MobileSAM to bundles ``OUT/<target>-<scheme>/``.

    Args:
        weights: a model in eval mode, or what :func:`mobilesam.load_model` takes: ``demo``,
            ``official`` or the path of a checkpoint.
        targets: names from :data:`converters.schemes.TARGETS`, or ``all``.
        schemes: names of schemes, or ``all``; None: every scheme of each target. A path that ends
            in ``.toml`` is a scheme file (:mod:`converters.plan`), exported to
            ``OUT/<target>-<name of the file>/``.
        out: folder for the bundles; created.
        image_size: S, a multiple of 16 from 64 to 4096; None: a model's own, or 1024.
        input_variant: ``pixels`` (float planes that the graph normalises), ``normalized`` (that the
            app has normalised) or ``uint8`` (pixels as they lie in the app's memory, a pixel buffer
            for Core ML; the graph does the rest).
        channel_order: of variant ``uint8``: ``rgb``, ``bgr`` or ``rgba``.
        masks: ``low_res`` (four masks' logits) or ``full`` (the decoder gives the mask that SAM
            shows, S x S, 0 or 255).
        photo_size: H, W of the photos that the encoder takes, of variant ``uint8``; it scales and
            pads them itself, exactly as Pillow does. None: the app scales.
        embedding_type: ``float32``, or ``float16`` in schemes that compute in it: half the bytes
            to hand from the encoder to the decoder.
        slots: K, point slots of the decoder, 2 to 64.
        options: what single targets are asked for beside the scheme, by the target's name, such as
            ``{"coreml": CoreMLOptions(ios=17)}`` (:mod:`converters.coreml.options`).
        calibration: folder of photos for the schemes that are calibrated on photos; None: those of
            scikit-image that bundles are not judged on.
        calibration_method: how ranges are found, see :class:`converters.spec.CalibrationOptions`.
        distilled: file of weights that were distilled from ``weights`` for the scheme that is
            exported; the encoder's files are made of them (:mod:`converters.tflite.distilled`).
        force: export even what is unchanged.
        progress: show progress, and the log of what fails, on standard error.
        jobs: conversions at a time.

    Returns:
        One result a bundle, in the table's order.

    Raises:
        InputError: an argument has no such value, or a format that was asked for by name cannot
            hold the model; nothing was written.
        CheckpointError: the weights cannot be loaded; nothing was written.
        MissingDependencyError: a converter is not installed; nothing was written.
        ExportError: the model is in train mode, and nothing was written; or a conversion failed.
            The other bundles were still finished; of the failed one nothing was written, and an
            earlier one is still in place.
    """
    variant = one_of("input_variant", input_variant, INPUT_VARIANTS)
    given = one_of("masks", masks, MASKS)
    embedding = one_of("embedding_type", embedding_type, EMBEDDING_TYPES)
    order = one_of("channel_order", channel_order, CHANNEL_ORDERS)
    if order != "rgb" and variant != "uint8":
        raise InputError(
            f"the channel order {order} is of the input variant 'uint8', not of '{variant}', whose "
            "planes are in the order RGB"
        )
    low, high = SLOT_LIMITS
    if not low <= slots <= high:
        raise InputError(f"slots must be {low} to {high}, not {slots}")
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs must be at least 1, not {jobs}")
    targets = [targets] if isinstance(targets, str) else targets
    schemes = [schemes] if isinstance(schemes, str) else schemes
    named, plan = planned(targets, schemes)
    chosen = [(plan[1].target, MIXED)] if plan else []
    backends = {target: wanted.lowered_to() for target, wanted in options.items()}
    if plan is None or named:
        chosen += resolve(targets, named, backends)
    wanted_of = options_of((target for target, _ in chosen), options)
    asked = {target: wanted.taking(variant) for target, wanted in wanted_of.items()}
    chosen = offered(chosen, named, asked)
    for target in dict.fromkeys(target for target, _ in chosen):
        require(target, asked[target].lowered_to())
    for target, wanted in asked.items():
        own = [s for t, s in chosen if t == target]
        # A command gives the options of every target: what is asked for concerns those exported.
        wanted.check(own, variant, given if own else "low_res")
    plans = {MIXED: plan[1]} if plan else {}
    if embedding == "float16":
        check_half_embedding(chosen, asked)
    calibrated = [t for t, s in chosen if is_calibrated(t, s, plans.get(s))]
    check_method(calibrated, calibration_method)
    photos = None if calibration is None else Path(calibration).resolve()
    if calibrated and photos is None:
        calibration_photos(None)  # that they are not installed is an error before the work
    tuned = None if distilled is None else read_distilled(Path(distilled))

    size = weights.image_size if isinstance(weights, MobileSAM) else image_size or DEFAULT_SIZE
    if photo_size is not None:
        check_photo_size(photo_size, variant, size)
    names = None
    if calibrated and photos is not None:
        names = usable_names(photos, size)
    model = _model(weights, image_size)
    chosen = within_limits(chosen, targets, model)
    record = weights_record(model)
    contract = Contract.of(
        model,
        input_variant=variant,
        slots=slots,
        channel_order=order,
        masks=given,
        photo_size=photo_size,
        embedding_type=embedding,
    )
    specs = {
        Path(out) / f"{target}-{plan[0] if plan and scheme == MIXED else scheme}": ExportSpec(
            target=target,
            scheme=scheme,
            variant=model.variant,
            weights=record,
            contract=asked[target].contract(contract),
            options=asked[target],
            calibration=CalibrationOptions(folder=photos, names=names, method=calibration_method),
            plan=plans.get(scheme),
            distilled=tuned.record if tuned else None,
        )
        for target, scheme in chosen
    }
    if tuned is not None:
        model = tuned.tuned(model, record.sha256, chosen, plans.get(MIXED))
    return _export(model, specs, Path(out), force=force, progress=progress, jobs=jobs)


def _model(weights: MobileSAM | str | Path, image_size: int | None) -> MobileSAM:
    """The model that is exported.

    Raises:
        InputError: it was built for another size.
        CheckpointError: the weights cannot be loaded.
        ExportError: it is in train mode.
    """
    if not isinstance(weights, MobileSAM):
        return load_model(weights, image_size=DEFAULT_SIZE if image_size is None else image_size)
    if image_size not in (None, weights.image_size):
        raise InputError(
            f"the model was built for image_size {weights.image_size}, not {image_size}: leave "
            "image_size out, or load the model with it"
        )
    refuse_train_mode(weights)
    return weights


def _export(
    model: MobileSAM,
    specs: Mapping[Path, ExportSpec],
    out: Path,
    *,
    force: bool,
    progress: bool,
    jobs: int | None,
) -> list[ExportResult]:
    """Convert a model to the bundle of each folder, all of them in ``out``, which is created."""
    cores = available_cores()
    workers = min(jobs or min(DEFAULT_JOBS, cores), len(specs))
    created = [folder for folder in (out, *out.absolute().parents) if not folder.exists()]
    try:
        prepare_out(out)
        with (
            scratch_folder() as scratch,
            BundleProgress((spec.name for spec in specs.values()), enabled=progress) as lines,
        ):
            session = Session(
                force=force,
                scratch=scratch,
                threads=max(1, cores // workers),
                lines=lines,
                stop=threading.Event(),
            )
            hand_over(model, session.model_file)
            return run_all(session, specs, workers)
    finally:
        for folder in created:
            with suppress(OSError):  # not empty: something was exported
                folder.rmdir()
