"""Ultralytics' detectors, by a module that stands in for their package."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from mobilesam.annotation.detectors.base import DetectorOptions
from mobilesam.annotation.detectors.table import detector_source
from mobilesam.annotation.records import PhotoFile
from mobilesam.errors import InputError, MissingDependencyError

PHOTO = PhotoFile("photo.png", "photo.png")


class YOLO:
    """Finds one box, and remembers what it was asked."""

    asked: dict[str, Any] = {}

    def __init__(self, path: str) -> None:
        if path.endswith("broken.pt"):
            raise ValueError("no checkpoint")
        self.task = "segment" if path.endswith("seg.pt") else "detect"
        self.names = {0: "cat", 1: "dog"}

    def predict(self, pixels: np.ndarray, **options: Any) -> list[Any]:
        """One result."""
        type(self).asked = options | {"pixels": pixels}
        boxes = SimpleNamespace(
            xyxy=torch.tensor([[1.0, 2.0, 3.0, 4.0]]), cls=torch.tensor([1.0]), conf=torch.ones(1)
        )
        return [SimpleNamespace(boxes=boxes)]


@pytest.fixture
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("ultralytics")
    module.YOLO = YOLO  # type: ignore[attr-defined]
    module.__spec__ = SimpleNamespace(name="ultralytics")  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "ultralytics", module)


@pytest.mark.usefixtures("_installed")
def test_what_they_are_asked_and_what_comes_back() -> None:
    options = DetectorOptions(conf=0.3, iou=0.6, imgsz=320, max_det=7, classes=(1,), device="cpu")
    source = detector_source("yolo26x.pt", options, [PHOTO])
    assert [category.name for category in source.categories] == ["cat", "dog"]
    pixels = np.zeros((5, 6, 3), np.uint8)
    pixels[..., 0] = 255  # red
    with source.open() as detect:
        found = detect(PHOTO, pixels)
    assert found.boxes.tolist() == [[1, 2, 3, 4]] and found.classes.tolist() == [1]
    assert found.conf is not None and found.conf.tolist() == [1]
    asked = YOLO.asked
    assert (asked.pop("pixels")[0, 0] == [0, 0, 255]).all()  # BGR
    assert asked == {
        "conf": 0.3, "iou": 0.6, "imgsz": 320, "max_det": 7, "classes": [1], "device": "cpu",
        "verbose": False,
    }  # fmt: skip


@pytest.mark.usefixtures("_installed")
def test_what_is_no_detector_of_theirs() -> None:
    with pytest.raises(InputError, match="for the task 'segment': boxes come from one"):
        detector_source("yolo-seg.pt", DetectorOptions(), [PHOTO])
    with pytest.raises(InputError, match="cannot load the detector 'broken.pt' .no checkpoint"):
        detector_source("broken.pt", DetectorOptions(), [PHOTO])
    with pytest.raises(InputError, match="no class 2"):
        detector_source("yolo.pt", DetectorOptions(classes=(2,)), [PHOTO])


def test_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        "mobilesam.annotation.detectors.ultralytics_model.find_spec", lambda name: None
    )
    with pytest.raises(MissingDependencyError, match="pip install ultralytics"):
        detector_source(tmp_path / "yolo.pt", DetectorOptions(), [PHOTO])
