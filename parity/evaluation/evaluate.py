"""How good are the masks? Mean IoU of a checkpoint or a bundle with masks drawn by people.

The protocol is that of the SAM paper (Kirillov et al., arXiv 2304.02643): one click in the middle
of the object, answered by the mask that the model itself ranks first of its three (or, "oracle",
by the best of them); a box, answered by the single-mask output.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from mobilesam import __version__
from mobilesam.errors import InputError
from mobilesam.inference.images import load_image
from mobilesam.inference.predictor import choose_mask
from mobilesam.inference.prompts import Prompt, make_prompt
from mobilesam.inference.transforms import Frame
from mobilesam.model.build import load_model
from mobilesam.progress import Progress, Step
from mobilesam.runtimes import open_runner
from mobilesam.runtimes.base import BundleRunner, Runner
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.checked import torch_threads
from mobilesam.runtimes.reference import ReferenceRunner
from mobilesam.weights.checkpoints import KNOWN_NAMES
from parity.bundles import require_own_interface
from parity.evaluation.clicks import correction
from parity.evaluation.masked_photos import MaskedPhoto, TrueMask
from parity.evaluation.scores import (
    EvaluationReport,
    PromptName,
    PromptResult,
    SegmentResult,
    score,
)
from parity.evaluation.subset import Subset, usable
from parity.metrics import iou
from parity.photos import unusable_image
from parity.references import masks_of
from parity.schema import UnusableImage

IMAGE_SIZE = 1024
"""Side of the frame for a checkpoint; a bundle has its own."""

SLOTS = 3
"""Least point slots of a bundle: a box and a click, or two clicks and SAM's padding point."""


def evaluate(
    model: str | Path | Bundle,
    images: str | Path,
    *,
    coco: str | Path | None = None,
    names: str | Path | None = None,
    max_images: int | None = None,
    all_segments: bool = False,
    image_size: int | None = None,
    runtime: str | None = None,
    threads: int | None = None,
    skip_unusable: bool = False,
    progress: bool = True,
    command: str = "",
) -> EvaluationReport:
    """Score a model against masks that people drew: mean IoU by prompt type.

        result = evaluate("exports/tflite-fp16", "photos_with_masks")
        print({score.prompt: score.mean_iou for score in result.scores})

    Args:
        model: "demo", "official", the path of a checkpoint, or a bundle or its folder.
        images: folder of images, with a ``manifest.json`` unless ``coco`` is given; see
            :mod:`mobilesam.data.masked_images`.
        coco: COCO instances file that describes the images' masks.
        names: text file of image names, one a line: only these are scored. None takes all.
        max_images: the largest number of images; the first by name are taken.
        all_segments: also score small, hidden and uncountable segments.
        image_size: side of a checkpoint's frame; None is 1024. A bundle has its own.
        runtime: one of the bundle's; None takes its first.
        threads: of PyTorch and of the runtime; None leaves their own choice.
        skip_unusable: go on without photos that cannot be used; the result lists them.
        progress: show progress on the terminal.
        command: the command line that scores this again, for the result to state.

    Raises:
        InputError: images, masks or options cannot be used; every photo that cannot is named,
            before the model is loaded.
        CheckpointError: the checkpoint cannot be loaded.
        BundleError: the bundle is not as exported, or fails.
        MissingDependencyError: a runtime or pycocotools is not installed.
    """
    subset = Subset(
        Path(images),
        None if coco is None else Path(coco),
        None if names is None else Path(names),
        max_images,
        all_segments,
    )
    photos = subset.photos()
    name = str(model.path if isinstance(model, Bundle) else model)
    bundle = _bundle(model, image_size, runtime)
    side = bundle.manifest.image_size if bundle else image_size or IMAGE_SIZE
    with Progress(progress) as shown, ExitStack() as opened:
        with shown.task("photos", len(photos)) as step:
            photos, unusable = usable(photos, side, skip_unusable=skip_unusable, step=step)
        opened.enter_context(torch_threads(threads))
        runner, weights = _open(bundle, name, side, runtime, threads)
        opened.enter_context(runner)
        engine = runner.engine if isinstance(runner, BundleRunner) else "PyTorch"
        with shown.task(engine, len(photos)) as step:
            results = ask_all(runner, photos, step, unusable)
    if not results:
        raise InputError(f"every mask of {subset.images} that was to be scored is empty")
    return EvaluationReport(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        tool_version=__version__,
        command=command,
        model=name,
        engine=engine,
        weights=weights,
        image_size=runner.image_size,
        images=str(subset.images),
        annotations=None if subset.coco is None else str(subset.coco),
        names=None if subset.names is None else str(subset.names),
        unusable_images=unusable,
        rule=subset.rule,
        scores=score(results),
        segments=results,
    )


def _bundle(
    model: str | Path | Bundle, image_size: int | None, runtime: str | None
) -> Bundle | None:
    """The bundle that was meant, if it was one; options that do not go with it are refused."""
    named = not isinstance(model, Bundle)
    if named and (str(model) in KNOWN_NAMES or not Path(str(model)).is_dir()):
        if runtime is not None:
            raise InputError("--runtime chooses among a bundle's runtimes: name a bundle's folder")
        return None
    if image_size is not None:
        raise InputError("a bundle has an image size of its own: drop --image-size")
    bundle = model if isinstance(model, Bundle) else Bundle(model)
    require_own_interface(bundle, "its answers have no three masks to choose the best of")
    bundle.verify()
    if bundle.manifest.slots < SLOTS:
        raise InputError(
            f"'{bundle.path}' has {bundle.manifest.slots} point slots and evaluating needs "
            f"{SLOTS}, for a box and a click: export it with --slots {SLOTS} or more"
        )
    return bundle


def _open(
    bundle: Bundle | None, model: str, image_size: int, runtime: str | None, threads: int | None
) -> tuple[Runner, dict[str, str]]:
    """The runner of what was named, and where its weights are from."""
    if bundle is not None:
        runner = open_runner(bundle, runtime or bundle.runtimes[0], threads=threads)
        return runner, dict(bundle.manifest.weights)
    loaded = load_model(model, image_size=image_size)
    return ReferenceRunner(loaded), dict(vars(loaded.weights)) if loaded.weights else {}


def ask_all(
    runner: Runner,
    photos: Sequence[MaskedPhoto],
    step: Step = lambda _: None,
    unusable: list[UnusableImage] | None = None,
) -> list[SegmentResult]:
    """Every mask of every photo, each photo encoded once.

    Args:
        runner: opened.
        photos: with their masks.
        step: called with each photo's name before it is encoded.
        unusable: takes up photos that cannot be read any more, which are then left out.

    Raises:
        InputError: an image or its masks cannot be used, and there is no ``unusable``.
    """
    results = []
    for photo in photos:
        step(photo.file)
        try:
            rgb = load_image(photo.path)
            frame = Frame(rgb.shape[:2], runner.image_size)
            targets = photo.targets(frame.original_size)
        except (InputError, OSError) as error:
            if unusable is None:
                raise
            unusable.append(unusable_image(photo.file, error))
            continue
        embedding = runner.encode(rgb)
        for target in targets:
            results.append(
                SegmentResult(
                    image=photo.file,
                    group=photo.group,
                    category=target.category,
                    area=int(np.count_nonzero(target.mask)),
                    prompts=ask(runner, embedding, target, frame),
                )
            )
    return results


def ask(
    runner: Runner, embedding: np.ndarray, target: TrueMask, frame: Frame
) -> dict[PromptName, PromptResult]:
    """Ask for one mask by every type of prompt, and compare.

    Where the first click's mask is already exactly right there is no second click to make, and
    "point, refined" repeats "point".

    Args:
        runner: opened.
        embedding: of the photo, [1, 256, S/16, S/16].
        target: what should be found.
        frame: geometry of the photo.
    """
    size = frame.original_size

    def single(prompt: Prompt) -> PromptResult:
        low_res, predicted, *_ = runner.decode(embedding, prompt, frame)
        mask = masks_of(low_res[:1], frame)[0]
        return PromptResult(iou=iou(mask, target.mask), predicted=float(predicted[0]))

    click = make_prompt([target.point], [1], original_size=size)
    low_res, predicted, *_ = runner.decode(embedding, click, frame)
    masks = masks_of(low_res, frame)
    shown = choose_mask(click, predicted)
    true = [iou(mask, target.mask) for mask in masks]
    point = PromptResult(iou=true[shown], predicted=float(predicted[shown]))

    second = correction(target.mask, masks[shown])
    if second is None:
        refined = point
    else:
        where, label = second
        points, labels = [target.point, where], [1, label]
        refined = single(
            make_prompt(
                points,
                labels,
                mask_input=low_res[shown],
                original_size=size,
                low_res_size=frame.image_size // 4,
            )
        )
    both = make_prompt([target.point], [1], target.box, original_size=size)
    return {
        "point": point,
        "point, best of three": PromptResult(iou=max(true[1:])),
        "box": single(make_prompt(box=target.box, original_size=size)),
        "box and point": single(both),
        "point, refined": refined,
        "filled box": PromptResult(iou=iou(target.filled_box, target.mask)),
    }
