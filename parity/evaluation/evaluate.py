"""How good are the masks? Mean IoU of a checkpoint or a bundle with masks drawn by people.

The protocol is that of the SAM paper (Kirillov et al., arXiv 2304.02643): one click in the middle
of the object, answered by the mask that the model itself ranks first of its three (or, "oracle",
by the best of them); a box, answered by the single-mask output.
"""

from datetime import UTC, datetime
from pathlib import Path

from mobilesam import __version__
from mobilesam.engines.table import engine_of
from mobilesam.errors import InputError
from mobilesam.progress import Progress
from mobilesam.runtimes.bundle import Bundle
from mobilesam.weights.checkpoints import KNOWN_NAMES
from parity.bundles import require_any_photo, require_own_interface
from parity.evaluation.job import EvaluationJob, Scored
from parity.evaluation.scores import EvaluationReport, score
from parity.evaluation.subset import Subset, usable

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
    engine: str | None = None,
    workers: int | None = None,
    ray_address: str | None = None,
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
        engine: "local", processes of this machine with one thread each, or "ray", a Ray cluster;
            None computes in this process. None of them changes a score.
        workers: of the engine; as many as there are cores unless given.
        ray_address: of the cluster, host and port; that in RAY_ADDRESS, or else a cluster of this
            machine alone, unless given.
        progress: show progress on the terminal.
        command: the command line that scores this again, for the result to state.

    Raises:
        InputError: images, masks or options cannot be used; every photo that cannot is named,
            before the model is loaded.
        CheckpointError: the checkpoint cannot be loaded.
        BundleError: the bundle is not as exported, or fails.
        MissingDependencyError: a runtime or pycocotools is not installed.
    """
    if engine is not None and threads is not None:
        raise InputError(f"workers of the engine '{engine}' have one thread each: drop --threads")
    chosen = engine_of(engine, workers=workers, address=ray_address)
    # Workers on other machines do not share this one's working folder.
    subset = Subset(
        Path(images).absolute() if engine else Path(images),
        None if coco is None else Path(coco),
        None if names is None else Path(names),
        max_images,
        all_segments,
    )
    photos = subset.photos()
    name = str(model.path if isinstance(model, Bundle) else model)
    bundle = _bundle(model, image_size, runtime)
    side = bundle.manifest.image_size if bundle else image_size or IMAGE_SIZE
    found_as = name if engine is None else _address(bundle, name)
    job = EvaluationJob(
        found_as, bundle is not None, side, runtime, threads if engine is None else 1
    )
    with Progress(progress) as shown:
        with shown.task("photos", len(photos)) as step:
            photos, unusable = usable(photos, side, skip_unusable=skip_unusable, step=step)
        scored: dict[str, Scored] = {}
        with chosen.run(job, photos) as found, shown.task("masks", len(photos)) as step:
            for photo, result in found:
                step(photo.file)
                scored[photo.file] = result
    unusable += [each.unusable for each in scored.values() if each.unusable is not None]
    # Engines finish photos in any order.
    results = [segment for photo in photos for segment in scored[photo.file].segments]
    if not results:
        raise InputError(f"every mask of {subset.images} that was to be scored is empty")
    first = next(iter(scored.values()))
    return EvaluationReport(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        tool_version=__version__,
        command=command,
        model=name,
        engine=first.engine,
        weights=dict(first.weights),
        image_size=side,
        images=str(images),
        annotations=None if subset.coco is None else str(subset.coco),
        names=None if subset.names is None else str(subset.names),
        unusable_images=unusable,
        rule=subset.rule,
        scores=score(results),
        segments=results,
    )


def _address(bundle: Bundle | None, name: str) -> str:
    """A model as workers find it that do not share this process's working folder."""
    if bundle is None and name in KNOWN_NAMES:
        return name
    return str(Path(name).expanduser().absolute())


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
    require_any_photo(bundle, "photos with masks are of many sizes")
    bundle.verify()
    if bundle.manifest.slots < SLOTS:
        raise InputError(
            f"'{bundle.path}' has {bundle.manifest.slots} point slots and evaluating needs "
            f"{SLOTS}, for a box and a click: export it with --slots {SLOTS} or more"
        )
    return bundle
