"""Everything a search stands on: the float32 files, photos, and PyTorch's answers to them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from converters import export
from converters.calibration import Calibration
from converters.tflite.constants import shrink_constants
from converters.tflite.quantization import calibrated
from mobilesam.bundle.contract import COMPONENTS
from mobilesam.data.sample_photos import PHOTOS, Box
from mobilesam.errors import InputError
from mobilesam.model.build import load_model
from mobilesam.progress import Progress
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.reference import ReferenceRunner
from parity.cases import PromptedPhoto, Subject
from parity.image_folder import folder_photos
from parity.mixed_precision.sensitivity import TARGET
from parity.mixed_precision.trials import Trials
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

    Raises:
        CheckpointError, ExportError, MissingDependencyError: as of an export.
    """
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
    ranges = {}
    if timed:
        calibration = Calibration(model, bundle.manifest.contract, None)
        with progress.task("calibration", len(COMPONENTS)) as step:
            for component in COMPONENTS:
                step(component)
                ranges[component] = calibrated(
                    contents[component],
                    calibration.samples(component),
                    bundle.manifest.contract.signature(component).name,
                )
    with (
        ReferenceRunner(model) as reference,
        progress.task("PyTorch reference", len(photos)) as step,
        reference_answers(reference, photos, step) as answers,
    ):
        yield Trials(
            contents,
            bundle.manifest.contract,
            answers,
            memory=work / TRIALS,
            threads=threads,
            ranges=ranges,
            timed=timed,
        )
