"""The table of detectors, and which of them a name stands for."""

from collections.abc import Callable, Sequence
from pathlib import Path

from mobilesam.annotation.detectors.base import DetectorOptions, DetectorSource
from mobilesam.annotation.detectors.coco_boxes import CocoBoxes
from mobilesam.annotation.detectors.onnx_file import OnnxFile
from mobilesam.annotation.detectors.ultralytics_model import UltralyticsModel
from mobilesam.annotation.detectors.yolo_boxes import YoloBoxes
from mobilesam.annotation.records import PhotoFile
from mobilesam.errors import InputError

Maker = Callable[[Path, DetectorOptions, Sequence[PhotoFile]], DetectorSource]

DETECTORS: dict[str, Maker] = {
    ".onnx": OnnxFile,
    ".pt": UltralyticsModel,
    ".json": CocoBoxes,
    "": YoloBoxes,
}
"""By the ending of the file that is given; the empty one is of a folder."""

_TAKEN = (
    "give an ONNX export of a YOLO detector (.onnx), a checkpoint of Ultralytics' (.pt), a COCO "
    "file with boxes (.json), or a folder of YOLO label files"
)


def detector_source(
    det_model: str | Path, options: DetectorOptions, photos: Sequence[PhotoFile]
) -> DetectorSource:
    """The source of boxes that a user names.

    Args:
        det_model: path of a file or folder, or the name of a checkpoint that Ultralytics downloads.
        options: what it is asked for.
        photos: of the data set, at least one.

    Raises:
        InputError: it is no detector, or one for something else.
        MissingDependencyError: it needs a package that is not installed.
    """
    path = Path(det_model).expanduser()
    ending = "" if path.is_dir() else path.suffix.lower()
    if ending not in DETECTORS or (not path.is_dir() and not ending):
        what = "is no detector" if path.exists() else "is not there"
        raise InputError(f"the detector '{det_model}' {what}: {_TAKEN}")
    if ending != ".pt" and not path.exists():
        raise InputError(f"the detector '{det_model}' is not there: {_TAKEN}")
    source = DETECTORS[ending](path, options, photos)
    source.require_classes(options.classes)
    return source
