"""A checkpoint of Ultralytics', run by their package where the user has installed it.

Their package is AGPL-3.0 and no dependency of this one: it is imported when a ``.pt`` detector is
asked for, and nowhere else.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam.annotation.detectors.base import Detect, DetectorOptions, DetectorSource
from mobilesam.annotation.records import Category, Detections, PhotoFile
from mobilesam.errors import InputError, MissingDependencyError, reason_of
from mobilesam.files import sha256_of


class UltralyticsModel(DetectorSource):
    """A detector of theirs.

    Args:
        path: of the checkpoint, or the name of one that their package downloads.
        options: as their ``predict`` takes them.
        photos: not needed.

    Raises:
        MissingDependencyError: their package is not installed.
        InputError: they cannot load it, or it is for another task.
    """

    def __init__(self, path: Path, options: DetectorOptions, photos: Sequence[PhotoFile]) -> None:
        if find_spec("ultralytics") is None:
            raise MissingDependencyError(
                f"'{path}' is a checkpoint of Ultralytics', which only their package reads: pip "
                "install ultralytics (AGPL-3.0), or give an ONNX export of it"
            )
        self._path, self._options = path, options
        model = self._load()
        # Ultralytics has names by number, without gaps.
        names = dict(model.names)
        count = max(names, default=-1) + 1
        self.categories = tuple(Category(n + 1, str(names.get(n, n))) for n in range(count))
        self.settings = {
            "kind": "Ultralytics checkpoint",
            "name": path.name,
            "sha256": sha256_of(path) if path.is_file() else "",
            "conf": options.conf,
            "iou": options.iou,
            "imgsz": options.imgsz,
            "max_det": options.max_det,
        }

    @contextmanager
    def open(self) -> Iterator[Detect]:
        """Load the checkpoint."""
        model = self._load()

        def detect(photo: PhotoFile, pixels: np.ndarray) -> Detections:
            asked = self._options
            (result,) = model.predict(
                np.ascontiguousarray(pixels[..., ::-1]),  # they take BGR
                conf=asked.conf,
                iou=asked.iou,
                imgsz=asked.imgsz,
                max_det=asked.max_det,
                classes=None if asked.classes is None else list(asked.classes),
                device=asked.device or None,
                verbose=False,
            )
            boxes = result.boxes
            return Detections(
                boxes.xyxy.cpu().numpy().astype(np.float32).reshape(-1, 4),
                boxes.cls.cpu().numpy().astype(np.int64).reshape(-1),
                boxes.conf.cpu().numpy().astype(np.float32).reshape(-1),
            )

        yield detect

    def _load(self) -> Any:
        try:
            model = import_module("ultralytics").YOLO(str(self._path))
        except Exception as error:  # theirs are of many kinds
            raise InputError(
                f"Ultralytics cannot load the detector '{self._path}' ({reason_of(error)})"
            ) from error
        if model.task != "detect":
            raise InputError(
                f"'{self._path}' is a model for the task '{model.task}': boxes come from one for "
                "'detect'"
            )
        return model
