"""A bundle's points decoder in ONNX Runtime.

Its graphs are too small to share: each runs in the thread that asks, and several may ask at once.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from mobilesam.bundle.points import ATTEND, PREPARE, TENSORS, UPSCALE, WEIGH
from mobilesam.errors import BundleError
from mobilesam.runtimes.checked import first_line, native_banners_silenced

Values = dict[str, ort.OrtValue]

CELLS = 256
"""How many cells are upscaled at a time: what lies between the layers then stays in the cache."""


class PointsDecoder:
    """Answers clicks about one photo after the other.

    Attributes:
        shown: as :meth:`set_embedding` was given it.

    Args:
        files: of each graph, as :func:`mobilesam.bundle.points.points_files` returns them.

    Raises:
        BundleError: a file cannot be loaded, or has other inputs or outputs.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 3  # errors only
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._files = files
        self._sessions: dict[str, ort.InferenceSession] = {}
        for name, path in files.items():
            try:
                with native_banners_silenced():
                    session = ort.InferenceSession(
                        str(path), sess_options=options, providers=["CPUExecutionProvider"]
                    )
            except Exception as error:  # native runtimes raise types of their own
                raise BundleError(
                    f"{path} could not be loaded by ONNX Runtime ({first_line(error)}), export the "
                    "bundle again with --points-decoder"
                ) from error
            found = tuple(
                tuple(tensor.name for tensor in tensors)
                for tensors in (session.get_inputs(), session.get_outputs())
            )
            if found != TENSORS[name]:
                raise BundleError(f"{path} has other inputs or outputs than a points decoder has")
            self._sessions[name] = session

    def set_embedding(self, embedding: npt.NDArray[np.float32], shown: tuple[int, int]) -> None:
        """Take up a photo.

        Args:
            embedding: [1, C, S/16, S/16].
            shown: rows and columns of its cells that masks are computed of, from the first on.
        """
        given = {"image_embeddings": _value(embedding)}
        self._grid = embedding.shape[2:]
        self.shown = shown
        self._prepared = self._run(PREPARE, given)

    def attend(self, point: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], Values]:
        """Predicted IoUs [4] of a click, and what :meth:`masks` needs.

        Args:
            point: [2], x and y in pixels of the model's frame.
        """
        given = {**self._prepared, "point_coords": _value(point.reshape(1, 1, 2))}
        answer = self._run(ATTEND, given)
        iou: npt.NDArray[np.float32] = answer.pop("iou_predictions").numpy()
        return iou, answer

    def masks(self, attended: Values) -> npt.NDArray[np.float32]:
        """Logits [3, 16 n] of masks 1 to 3, of the n cells that are shown, one after the other."""
        height, width = self.shown
        image = attended["seen_image"].numpy()
        shown = image.reshape(*self._grid, -1)[:height, :width].reshape(height * width, -1)
        weights = self._run(WEIGH, attended)
        parts = [
            self._run(UPSCALE, {"cells": _value(shown[start : start + CELLS]), **weights})
            for start in range(0, len(shown), CELLS)
        ]
        return np.concatenate([part["logits"].numpy() for part in parts], axis=1)

    def _run(self, name: str, given: Values) -> Values:
        outputs = list(TENSORS[name][1])
        try:
            values = self._sessions[name].run_with_ort_values(outputs, given)
        except Exception as error:  # native runtimes raise types of their own
            raise BundleError(
                f"{self._files[name]} failed in ONNX Runtime: {first_line(error)}"
            ) from error
        return dict(zip(outputs, values, strict=True))


def _value(array: npt.NDArray[np.float32]) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array, np.float32))
