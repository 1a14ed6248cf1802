"""``auto_annotate``: a folder of photos to labels, by a detector and SAM."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilesam.annotation.detectors.base import DetectorOptions
from mobilesam.annotation.detectors.table import detector_source
from mobilesam.annotation.formats.table import label_format
from mobilesam.annotation.job import AnnotationJob
from mobilesam.annotation.masks import MaskModel
from mobilesam.annotation.output import OutputFolder
from mobilesam.annotation.records import LeftOut, PhotoFile
from mobilesam.data.image_files import image_files
from mobilesam.engines.table import engine_of
from mobilesam.errors import InputError
from mobilesam.progress import Progress, rate_columns
from mobilesam.sam.opening import UPSTREAM_NAME

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        output_dir: where the labels are.
        photos: in the data set.
        annotated: by this run.
        before: of those annotated by runs before it.
        objects: labels that this run wrote.
        empty: detections of this run without a label: outside the photo, or without a mask.
        left_out: photos that could not be annotated, and why.
    """

    output_dir: Path
    photos: int
    annotated: int
    before: int
    objects: int
    empty: int
    left_out: tuple[LeftOut, ...]


def auto_annotate(
    data: str | Path,
    det_model: str | Path = "yolo26x.pt",
    sam_model: str | Path = UPSTREAM_NAME,
    device: str = "",
    conf: float = 0.25,
    iou: float = 0.45,
    imgsz: int = 640,
    max_det: int = 300,
    classes: Sequence[int] | None = None,
    output_dir: str | Path | None = None,
    *,
    format: str = "yolo",
    image_size: int | None = None,
    runtime: str | None = None,
    engine: str = "local",
    workers: int | None = None,
    ray_address: str | None = None,
    progress: bool = True,
) -> Summary:
    """Label every photo of a folder: a detector's boxes become masks, and these become labels.

    A photo's labels appear whole or not at all. Called again after it was ended in any way, it goes
    on with what is left, and the files are the same as if nothing had happened. The first ten
    arguments are those of Ultralytics' function of this name.

    Args:
        data: the folder.
        det_model: an ONNX export of a YOLO detector; a checkpoint of Ultralytics' (``.pt``), if
            their package is installed; or boxes that are there already: a folder of YOLO label
            files, or a COCO file.
        sam_model: a checkpoint, "demo", "official", or the folder of a bundle, whose files are run.
        device: where PyTorch computes, such as "cuda:0"; the CPU unless given.
        conf: lowest confidence of a detection.
        iou: of two boxes of one class that overlap by more than this IoU, one is dropped.
        imgsz: longest side of what the detector sees, where its file leaves the choice.
        max_det: most objects in a photo.
        classes: the only ones that are wanted, by number.
        output_dir: a folder; ``<data>_auto_annotate_labels`` beside the data unless given.
        format: "yolo", a text file for each photo; or "coco", one file with run lengths.
        image_size: side of a checkpoint's frame; 1024 unless given.
        runtime: which of a bundle's runtimes; its first unless given.
        engine: "local", processes of this machine; or "ray", a Ray cluster.
        workers: how many; as many as there are cores unless given. They change nothing in the
            labels.
        ray_address: of the cluster, host and port; that in RAY_ADDRESS, or else a cluster of this
            machine alone, unless given.
        progress: show it on the terminal.

    Raises:
        InputError: something cannot be used, or written; labels that are done are kept.
        CheckpointError: the model's weights cannot be read, or do not fit.
        BundleError: the bundle is damaged, or fails.
        MissingDependencyError: a package is not installed.
    """
    folder = Path(data).expanduser().resolve()
    options = DetectorOptions(
        conf, iou, imgsz, max_det, None if classes is None else tuple(classes), device
    )
    gpus = 0 if device in ("", "cpu") else 1
    chosen = engine_of(
        engine, workers=1 if gpus and workers is None else workers, address=ray_address, gpus=gpus
    )
    photos = [PhotoFile(path.name, str(path)) for path in image_files(folder)]
    detector = detector_source(det_model, options, photos)
    written = label_format(format, detector.categories)
    written.require(photos)
    model = MaskModel.named(sam_model, image_size, runtime, device)
    settings: dict[str, Any] = {
        "data": str(folder),
        "format": written.name,
        "detector": detector.settings,
        "classes": None if classes is None else sorted(classes),
        "sam": model.settings,
        "names": [category.name for category in detector.categories],
    }
    out = (
        folder.parent / f"{folder.stem}_auto_annotate_labels" if output_dir is None else output_dir
    )
    job = AnnotationJob(detector, model, written)
    annotated = objects = empty = 0
    left_out: list[LeftOut] = []
    with OutputFolder(Path(out).expanduser().resolve(), settings, written) as kept:
        pending = [photo for photo in photos if not kept.has(photo)]
        before = len(photos) - len(pending)
        with (
            Progress(progress, stderr=True, columns=rate_columns()) as shown,
            chosen.run(job, pending) as results,
            shown.task("photos", len(photos), before) as step,
        ):
            step("")
            for photo, result in results:
                kept.begin()
                step(photo.name)
                if isinstance(result, LeftOut):
                    _LOG.warning("left out %s: %s", photo, result.reason)
                    left_out.append(result)
                    kept.forget(photo)
                else:
                    kept.write(photo, result.text)
                    annotated += 1
                    objects += result.objects
                    empty += result.empty
        if len(left_out) == len(photos):
            raise InputError(
                f"none of the {len(photos)} photos could be annotated; of the first: "
                f"{min(left_out).reason}"
            )
        kept.begin()
        left_out.sort()
        names = {each.name for each in left_out}
        kept.finish([photo for photo in photos if photo.name not in names], left_out)
    return Summary(kept.path, len(photos), annotated, before, objects, empty, tuple(left_out))
