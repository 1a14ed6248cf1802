"""ONNX detectors in every layout: right boxes in pixels of the photo, from graphs that compute."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from mobilesam.annotation.detectors.base import DetectorOptions
from mobilesam.annotation.detectors.layouts import Layout
from mobilesam.annotation.detectors.letterbox import Letterbox
from mobilesam.annotation.detectors.onnx_file import OnnxFile
from mobilesam.annotation.detectors.table import detector_source
from mobilesam.annotation.records import Detections, PhotoFile
from mobilesam.errors import InputError
from tests.mobilesam.annotation.red_detector import FOUND, NAMES, SIDE, write_detector

PHOTO = PhotoFile("photo.png", "photo.png")
ASKED = DetectorOptions(imgsz=SIDE)
LAYOUTS = ("columns", "rows", "final")


def red_photo(size: tuple[int, int], box: tuple[int, int, int, int]) -> np.ndarray:
    """White but for a red box x1, y1, x2, y2."""
    pixels = np.full((*size, 3), 255, np.uint8)
    x1, y1, x2, y2 = box
    pixels[y1:y2, x1:x2, 1:] = 0
    return pixels


def pair(box: tuple[int, int, int, int]) -> np.ndarray:
    """A box twice: once for each candidate that stays."""
    return np.array([box, box], np.float32)


def found(path: Path, pixels: np.ndarray, options: DetectorOptions = ASKED) -> Detections:
    """What a detector finds in a photo."""
    with OnnxFile(path, options, [PHOTO]).open() as detect:
        return detect(PHOTO, pixels)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((64, 64), (5, 10, 40, 33)),
        ((32, 16), (3, 5, 11, 30)),  # twice as large in the picture, and gray on both sides
        ((128, 64), (6, 20, 30, 100)),  # half as large
        ((64, 33), (0, 0, 20, 64)),  # an odd margin: 15 before, 16 after
        ((33, 64), (40, 1, 64, 33)),
    ],
)
@pytest.mark.parametrize("open_sides", [False, True])
def test_boxes_are_in_pixels_of_the_photo(
    tmp_path: Path,
    layout: str,
    size: tuple[int, int],
    box: tuple[int, int, int, int],
    open_sides: bool,
) -> None:
    sides = ("height", "width") if open_sides else (SIDE, SIDE)
    path = write_detector(tmp_path / "red.onnx", layout, sides=sides)
    boxes = found(path, red_photo(size, box))
    assert boxes.conf is not None
    assert list(zip(boxes.classes.tolist(), boxes.conf.round(4).tolist(), strict=True)) == [
        (which, pytest.approx(score)) for which, score in FOUND
    ]
    assert np.array_equal(boxes.boxes, pair(box))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("changed", [{"half": True}, {"batch": 4}, {"batch": "batch"}])
def test_other_inputs(tmp_path: Path, layout: str, changed: dict[str, Any]) -> None:
    box = (5, 10, 40, 33)
    path = write_detector(tmp_path / "red.onnx", layout, **changed)
    assert np.array_equal(
        found(path, red_photo((64, 64), box)).boxes, np.array([box, box], np.float32)
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_that_say_nothing_of_themselves(tmp_path: Path, layout: str) -> None:
    """As other exporters write them: the layout follows from the shape."""
    box = (5, 10, 40, 33)
    path = write_detector(tmp_path / "red.onnx", layout, metadata={})
    source = OnnxFile(path, ASKED, [PHOTO])
    assert source.categories[1] == (2, "1")
    assert layout == "final" or len(source.categories) == len(NAMES)
    assert np.array_equal(
        found(path, red_photo((64, 64), box)).boxes, np.array([box, box], np.float32)
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_asked_for(tmp_path: Path, layout: str) -> None:
    path = write_detector(tmp_path / "red.onnx", layout)
    photo = red_photo((64, 64), (5, 10, 40, 33))

    def classes(**options: Any) -> list[int]:
        return found(path, photo, DetectorOptions(imgsz=SIDE, **options)).classes.tolist()

    assert classes() == [1, 2]
    assert classes(conf=0.7) == [1]
    assert classes(max_det=1) == [1]
    assert classes(classes=(2, 0)) == [2]
    assert classes(classes=(2,), max_det=1) == [2]
    assert classes(conf=0.1) == [1, 2, 0]
    assert found(path, np.full((64, 64, 3), 255, np.uint8)).classes.tolist() == []


def test_an_overlap_that_is_allowed(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "red.onnx", "columns")
    photo = red_photo((64, 64), (5, 10, 9, 33))
    # Moved by one of four pixels: an IoU of 3/5; the third to the first.
    assert found(path, photo, DetectorOptions(iou=0.55)).classes.tolist() == [1, 2]
    assert found(path, photo, DetectorOptions(iou=0.61)).classes.tolist() == [1, 1, 2, 1]


def test_the_smallest_picture_that_the_stride_allows() -> None:
    place = Letterbox.fit((30, 100), (640, 640), 32)
    assert place.scaled == (192, 640) and place.picture == (192, 640)
    place = Letterbox.fit((31, 100), (640, 640), 32)
    assert place.scaled == (198, 640) and place.picture == (224, 640) and place.corner == (13, 0)
    assert Letterbox.fit((1, 5000), (640, 640), None).scaled == (1, 640)


def test_layouts_of_the_usual_models() -> None:
    """Shapes as YOLOv5, v8, v10 and 11 give them at 640 x 640, and small ones that look alike."""

    def kind(shape: tuple[int, int], classes: int | None, side: int = 640) -> str | None:
        layout = Layout.of(shape, (side, side), classes)
        return None if layout is None else layout.kind

    assert kind((25200, 85), 80) == kind((25200, 85), None) == "rows"
    assert kind((84, 8400), 80) == kind((84, 8400), None) == "columns"
    assert kind((300, 6), 80) == kind((300, 6), None) == kind((300, 6), 1) == "final"
    assert kind((25200, 6), 1) == kind((25200, 6), None) == "rows"
    assert kind((5, 8400), 1) == kind((5, 8400), None) == "columns"
    assert kind((6, 8400), 2) == kind((6, 8400), None) == "columns"
    assert kind((102000, 85), None, 1280) == "rows"
    assert kind((116, 8400), 80) is None  # a segmentation model
    assert kind((8400, 84), 80) is None


def graph_of(path: Path, inputs: list[Any], shape: list[int], value: float = 0.0) -> Path:
    """A model that gives one constant, whatever it is given."""
    constant = helper.make_tensor("c", TensorProto.FLOAT, shape, [value] * int(np.prod(shape)))
    graph = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["output0"])],
        "constant",
        inputs,
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, shape)],
        [constant],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def images(*shape: int, kind: int = TensorProto.FLOAT) -> Any:
    """An input."""
    return helper.make_tensor_value_info("images", kind, list(shape))


PICTURE = images(1, 3, SIDE, SIDE)


@pytest.mark.parametrize(
    ("inputs", "shape", "reason"),
    [
        ([PICTURE], [1, 1000], "its outputs have the shapes [1, 1000]"),
        ([PICTURE], [1, 32, 16, 16], "its outputs have the shapes [1, 32, 16, 16]"),
        ([PICTURE], [1, 84, 77], "its output has the shape [84, 77]"),
        ([images(1, 4, SIDE, SIDE)], [1, 300, 6], "it takes images [1, 4, 64, 64]"),
        ([images(1, 3, 7)], [1, 300, 6], "and not one picture"),
        ([images(1, 3, SIDE, SIDE, kind=TensorProto.UINT8)], [1, 300, 6], "of floats"),
        ([PICTURE, helper.make_tensor_value_info("b", 1, [1])], [1, 300, 6], "b [1]"),
    ],
)
def test_a_model_that_is_no_detector(
    tmp_path: Path, inputs: list[Any], shape: list[int], reason: str
) -> None:
    path = graph_of(tmp_path / "other.onnx", inputs, shape)
    with pytest.raises(InputError, match="is no YOLO detector") as error:
        OnnxFile(path, ASKED, [PHOTO])
    assert reason in str(error.value)


def test_a_model_for_another_task(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "red.onnx", "columns", metadata={"task": "segment"})
    with pytest.raises(
        InputError, match="for the task 'segment': boxes come from one for 'detect'"
    ):
        OnnxFile(path, ASKED, [PHOTO])


@pytest.mark.parametrize("value", [float("nan"), 0.5])
def test_numbers_that_no_detector_gives(tmp_path: Path, value: float) -> None:
    path = graph_of(tmp_path / "other.onnx", [PICTURE], [1, 300, 6], value)
    with pytest.raises(InputError, match="the detector gave"):
        found(path, red_photo((64, 64), (5, 10, 40, 33)))


def test_a_class_that_was_not_named(tmp_path: Path) -> None:
    path = graph_of(tmp_path / "other.onnx", [PICTURE], [1, 300, 6], 7.0)
    model = onnx.load(path)
    model.metadata_props.add(key="names", value="['only']")
    onnx.save(model, path)
    with pytest.raises(InputError, match="gave the class 7, and has 1"):
        found(path, red_photo((64, 64), (5, 10, 40, 33)))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.onnx", b"no model", "cannot be loaded by ONNX Runtime (it is a text file)"),
        ("a.onnx", b"", "cannot be loaded by ONNX Runtime"),
        ("a.json", b"{}", "is not a COCO file with boxes: images: field required"),
        ("a.json", b"[", "is not a COCO file with boxes"),
        ("a.engine", b"x", "is no detector: give an ONNX export"),
        ("missing.onnx", None, "is not there: give an ONNX export"),
        ("missing", None, "is not there: give an ONNX export"),
    ],
)
def test_a_file_that_is_no_detector(
    tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        detector_source(tmp_path / name, ASKED, [PHOTO])
    assert reason in str(error.value)


def test_classes_out_of_range(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "red.onnx", "columns")
    for wrong in (3, -1):
        with pytest.raises(InputError, match=rf"no class {wrong}: .* 0 to 2 \('flat'\)"):
            detector_source(path, DetectorOptions(classes=(0, wrong)), [PHOTO])


@pytest.mark.parametrize(
    "wrong", [{"conf": 1.5}, {"iou": -0.1}, {"imgsz": 0}, {"max_det": 0}, {"classes": ()}]
)
def test_options_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"^{next(iter(wrong))} "):
        DetectorOptions(**wrong)


def test_a_folder_without_labels(tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("0 0.5 0.5 1 1\n")
    with pytest.raises(InputError, match=r"labels of a photo: .* such as 'photo\.txt'"):
        detector_source(tmp_path, ASKED, [PHOTO])


def test_a_coco_file_of_other_images(tmp_path: Path) -> None:
    path = tmp_path / "boxes.json"
    image = {"id": 1, "file_name": "other.png"}
    path.write_text(json.dumps({"images": [image], "categories": [], "annotations": []}))
    with pytest.raises(InputError, match="has boxes of other images"):
        detector_source(path, ASKED, [PHOTO])


def test_more_classes_than_names(tmp_path: Path) -> None:
    (tmp_path / "photo.txt").write_text("1 0.5 0.5 1 1\n")
    (tmp_path / "classes.txt").write_text("cat\n")
    with pytest.raises(InputError, match=r"class 1, but its classes\.txt names 1"):
        detector_source(tmp_path, ASKED, [PHOTO])
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    source = detector_source(tmp_path, ASKED, [PHOTO])
    assert [category.name for category in source.categories] == ["cat", "dog"]


def test_pictures_are_smoothed_as_opencv_does() -> None:
    """Bilinear between pixel centres: halfway between 0 and 255 lies 127.5, rounded to even."""
    pixels = np.asarray(Image.new("RGB", (4, 2)))
    pixels = np.array(pixels)
    pixels[:, 2:] = 255
    picture = Letterbox.fit((2, 4), (1, 2), None).picture_of(pixels)
    assert picture.shape == (3, 1, 2) and picture.ravel().tolist() == [0, 1] * 3
    wide = Letterbox.fit((2, 4), (4, 8), None).picture_of(pixels)
    assert (wide[0, 0] * 255).round().tolist() == [0, 0, 0, 64, 191, 255, 255, 255]
