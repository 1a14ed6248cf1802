"""A YOLO detector exported to ONNX, run by ONNX Runtime on the CPU.

What Ultralytics' exports say of themselves is read from the file: the names of the classes, the
task, the stride, and the size of the picture where the graph leaves it open.
"""

import ast
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam.annotation.detectors.base import Detect, DetectorOptions, DetectorSource
from mobilesam.annotation.detectors.layouts import Layout
from mobilesam.annotation.detectors.letterbox import GRAY, Letterbox
from mobilesam.annotation.detectors.suppression import suppressed
from mobilesam.annotation.records import Category, Detections, Floats, PhotoFile
from mobilesam.errors import InputError, MissingDependencyError, reason_of
from mobilesam.files import sha256_of
from mobilesam.weights.kinds import HEAD, kind_of

_FLOATS: dict[str, type[np.floating]] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_UNNAMED = 999
"""Classes of a file that neither names them nor shows how many they are."""

_STRIDE = 32  # of all but a few YOLO models, which say so


@dataclass(frozen=True)
class _Facts:
    """What the file says.

    Attributes:
        input: its name.
        dtype: of the input.
        batch: photos at once, where that is fixed.
        frame: H, W of the picture.
        stride: of pictures of other sizes, where these may be given.
        names: of the classes, by number; None where it does not say.
    """

    input: str
    dtype: type[np.floating]
    batch: int
    frame: tuple[int, int]
    stride: int | None
    names: dict[int, str] | None


class OnnxFile(DetectorSource):
    """A detector of any of the :mod:`~mobilesam.annotation.detectors.layouts`.

    Args:
        path: of the file.
        options: what is asked for; a file with a picture of fixed size keeps to that.
        photos: not needed.

    Raises:
        InputError: it is no ONNX file, no detector, or for another task.
        MissingDependencyError: ONNX Runtime is not installed.
    """

    def __init__(self, path: Path, options: DetectorOptions, photos: Sequence[PhotoFile]) -> None:
        self._path, self._options = path.resolve(), options
        session = _session(self._path)
        self._facts = _facts(session, path, options.imgsz)
        self._layout = self._tried(session)
        names = self._facts.names or {}
        count = _UNNAMED if self._layout.classes is None else self._layout.classes
        self.categories = tuple(Category(n + 1, names.get(n, str(n))) for n in range(count))
        self.settings = {
            "kind": "ONNX file",
            "name": path.name,
            "sha256": sha256_of(path),
            "conf": options.conf,
            "iou": options.iou,
            "imgsz": list(self._facts.frame),
            "max_det": options.max_det,
        }

    @contextmanager
    def open(self) -> Iterator[Detect]:
        """Load it.

        Raises:
            InputError: when it is asked: it gives a class that it has no name for, or ONNX Runtime
                cannot run it.
        """
        session = _session(self._path)

        def detect(photo: PhotoFile, pixels: np.ndarray) -> Detections:
            facts, asked = self._facts, self._options
            size = pixels.shape[0], pixels.shape[1]
            place = Letterbox.fit(size, facts.frame, facts.stride)
            output = self._run(session, place.picture_of(pixels))
            found = self._layout.read(output, asked.conf, asked.classes)
            if len(found.classes) and found.classes.max() >= len(self.categories):
                raise InputError(
                    f"the detector gave the class {found.classes.max()}, and has "
                    f"{len(self.categories)}"
                )
            final = self._layout.kind == "final"
            kept = suppressed(found, None if final else asked.iou, asked.max_det)
            return Detections(place.to_photo(kept.boxes), kept.classes, kept.conf)

        yield detect

    def _run(self, session: Any, picture: Floats) -> Floats:
        """The output for one picture, without the batch."""
        facts = self._facts
        batch = np.repeat(picture[None].astype(facts.dtype), facts.batch, axis=0)
        try:
            outputs = session.run(None, {facts.input: batch})
        except Exception as error:  # ONNX Runtime has many, and none of them says more
            raise InputError(f"the detector cannot be run ({reason_of(error)})") from None
        threefold = [each for each in outputs if np.ndim(each) == 3]
        if len(threefold) != 1 or not np.issubdtype(threefold[0].dtype, np.floating):
            shapes = ", ".join(str(list(np.shape(each))) for each in outputs)
            raise InputError(f"its outputs have the shapes {shapes}")
        output: Floats = threefold[0][0].astype(np.float32)
        return output

    def _tried(self, session: Any) -> Layout:
        """Run it once on gray, and see what comes out."""
        facts = self._facts
        picture = np.full((3, *facts.frame), GRAY / 255, np.float32)
        try:
            output = self._run(session, picture)
        except InputError as error:
            raise InputError(f"'{self._path}' is no YOLO detector: {error}") from None
        count = None if facts.names is None else max(facts.names, default=-1) + 1
        layout = Layout.of((output.shape[0], output.shape[1]), facts.frame, count)
        if layout is None:
            what = "" if count is None else f", and it names {count} classes"
            raise InputError(
                f"'{self._path}' is no YOLO detector: its output has the shape "
                f"{list(output.shape)}{what}"
            )
        return layout


def _session(path: Path) -> Any:
    try:
        import onnxruntime as ort
    except ImportError:
        raise MissingDependencyError(
            'ONNX detectors are run by ONNX Runtime: pip install "mobilesam-export[onnx]"'
        ) from None
    options = ort.SessionOptions()
    options.log_severity_level = 4  # what is wrong is raised
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        with path.open("rb") as file:
            kind = kind_of(file.read(HEAD))
        what = f"it is {kind}" if kind and "ONNX" not in kind else reason_of(error)
        raise InputError(
            f"the detector '{path}' cannot be loaded by ONNX Runtime ({what})"
        ) from None


def _facts(session: Any, path: Path, imgsz: int) -> _Facts:
    about = session.get_modelmeta().custom_metadata_map
    task = about.get("task", "detect")
    if task != "detect":
        raise InputError(
            f"'{path}' is a model for the task '{task}': boxes come from one for 'detect'"
        )
    inputs = session.get_inputs()
    shapes = ", ".join(f"{each.name} {list(each.shape)}" for each in inputs)
    first = inputs[0] if len(inputs) == 1 else None
    if (
        first is None
        or len(first.shape) != 4
        or first.type not in _FLOATS
        or (isinstance(first.shape[1], int) and first.shape[1] != 3)
    ):
        raise InputError(
            f"'{path}' is no YOLO detector: it takes {shapes}, and not one picture [N, 3, H, W] of "
            "floats"
        )
    batch, _, *sides = first.shape
    said = _stated(about.get("stride", ""))
    stride = said if isinstance(said, int) and said > 0 else _STRIDE
    open_sides = not all(isinstance(side, int) for side in sides)
    longest = -(-imgsz // stride) * stride
    frame = tuple(side if isinstance(side, int) else longest for side in sides)
    names = _stated(about.get("names", ""))
    if isinstance(names, list | tuple):
        names = dict(enumerate(names))
    return _Facts(
        input=first.name,
        dtype=_FLOATS[first.type],
        batch=batch if isinstance(batch, int) else 1,
        frame=(frame[0], frame[1]),
        stride=stride if open_sides else None,
        names={int(n): str(name) for n, name in names.items()} if isinstance(names, dict) else None,
    )


def _stated(text: str) -> Any:
    """A value that the file has as Python writes it; None where it is none."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
