"""What a search needs before it starts: float32 files, photos, and PyTorch's answers to them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from converters import export
from converters.calibration import Calibration
from converters.tflite.constants import shrink_constants
from converters.tflite.quantization import Ranges, calibrated
from mobilesam.bundle.contract import COMPONENTS, Component
from mobilesam.bundle.prompt_types import Subject
from mobilesam.data.sample_photos import PHOTOS, Box
from mobilesam.errors import InputError
from mobilesam.model.build import load_model
from mobilesam.model.sam import MobileSAM
from mobilesam.progress import Progress
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.reference import ReferenceRunner
from parity.cases import PromptedPhoto
from parity.image_folder import folder_photos
from parity.mixed_precision.sensitivity import TARGET
from parity.mixed_precision.trials import Trials
from parity.photos import log_unusable, stored_photos
from parity.references import reference_answers

TRIALS = "trials.json"


def require_target(target: str) -> None:
    """Refuse a target whose files cannot be quantized group by group.

    Raises:
        InputError: it is not ``tflite``.
    """
    if target != TARGET:
        raise InputError(f"only target {TARGET} is quantized group by group, not '{target}'")


def search_photos(images: Path | None, count: int | None) -> list[PromptedPhoto]:
    """Photos to search on: of a folder, or those of scikit-image that bundles are not judged on.

    Raises:
        InputError: no such folder, or no image in it.
        MissingDependencyError: no folder was given and scikit-image is not installed.
    """
    if images is not None:
        return folder_photos(images)[:count]
    return [
        PromptedPhoto(photo.name, photo.load, partial(_boxed, photo.box), turn)
        for turn, photo in enumerate(photo for photo in PHOTOS if not photo.judged)
    ][:count]


def _boxed(box: Box, _size: tuple[int, int]) -> Subject:
    return Subject.of_box(box)


@contextmanager
def workbench(
    work: Path,
    photos: Sequence[PromptedPhoto],
    *,
    weights: str | Path,
    image_size: int,
    progress: Progress,
    threads: int | None = None,
    timed: bool = False,
    skip_unusable: bool = False,
) -> Iterator[Trials]:
    """Trials on photos, remembered in a folder: called again, it goes on where it was.

    Args:
        work: folder for the float32 bundle and the memory of trials; created.
        photos: to try on.
        weights: as :func:`mobilesam.load_model` takes them.
        image_size: S.
        progress: where to show it.
        threads: of the runtime.
        timed: time trials, and calibrate on the built-in photos what needs it.
        skip_unusable: go on without photos that cannot be used, which are logged.

    Raises:
        InputError: photos cannot be used; all are named before anything is exported.
        CheckpointError, ExportError, MissingDependencyError: as of an export.
    """
    with ExitStack() as opened:
        with progress.task("photos", len(photos)) as step:
            kept = opened.enter_context(
                stored_photos(photos, [image_size], skip_unusable=skip_unusable, advance=step)
            )
        log_unusable(kept.unusable, len(kept.photos))
        (made,) = export(
            targets=[TARGET],
            schemes=["fp32"],
            weights=weights,
            out=work,
            image_size=image_size,
            progress=False,
        )
        bundle = Bundle(made.path)
        contents = {
            component: shrink_constants(bundle.file(component, "litert").read_bytes())
            for component in COMPONENTS
        }
        model = load_model(weights, image_size=image_size)
        ranges = _ranges(model, bundle, contents, progress) if timed else {}
        reference = opened.enter_context(ReferenceRunner(model))
        with progress.task("PyTorch reference", len(kept.photos)) as step:
            answers = opened.enter_context(reference_answers(reference, kept, step))
        yield Trials(
            contents,
            bundle.manifest.contract,
            answers,
            memory=work / TRIALS,
            threads=threads,
            ranges=ranges,
            timed=timed,
        )


def _ranges(
    model: MobileSAM, bundle: Bundle, contents: Mapping[Component, bytes], progress: Progress
) -> dict[Component, Ranges]:
    """Ranges of each file's activations on the photos that calibrate."""
    contract = bundle.manifest.contract
    calibration = Calibration(model, contract, None)
    ranges = {}
    with progress.task("calibration", len(COMPONENTS)) as step:
        for component in COMPONENTS:
            step(component)
            ranges[component] = calibrated(
                contents[component],
                calibration.samples(component),
                contract.signature(component).name,
            )
    return ranges
