"""A fake: stands in for coremltools on a Mac, where this repository's tests have not been run.

It has no more than ``run.py`` of a replay folder may use: ``ComputeUnit`` and ``models.MLModel``,
with the arguments and the answers of coremltools 9. Every call is a line of JSON in the file that
``FAKE_CALLS`` names. Predictions are ONNX Runtime's, of ``<component>.onnx`` in ``FAKE_ONNX``;
``FAKE_IMAGES`` names inputs that are declared as images, ``FAKE_DELAY`` seconds a prediction takes.
"""

import enum
import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime


class ComputeUnit(enum.Enum):
    ALL = 1
    CPU_AND_GPU = 2
    CPU_ONLY = 3
    CPU_AND_NE = 4


def _note(**call: Any) -> None:
    with open(os.environ["FAKE_CALLS"], "a") as file:
        file.write(json.dumps(call) + "\n")


class _Feature:
    def __init__(self, name: str) -> None:
        self.name = name
        self.type = self

    def WhichOneof(self, group: str) -> str:
        assert group == "Type"
        images = os.environ.get("FAKE_IMAGES", "").split(",")
        return "imageType" if self.name in images else "multiArrayType"


class MLModel:
    def __init__(
        self,
        model: str,
        compute_units: ComputeUnit = ComputeUnit.ALL,
        function_name: str | None = None,
    ) -> None:
        assert isinstance(model, str) and isinstance(compute_units, ComputeUnit)
        _note(load=Path(model).name, units=compute_units.name, function=function_name)
        component = function_name or Path(model).stem
        file = Path(os.environ["FAKE_ONNX"]) / f"{component}.onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(file), options)
        self._function = function_name

    def get_spec(self) -> SimpleNamespace:
        inputs = [_Feature(tensor.name) for tensor in self._session.get_inputs()]
        if self._function is None:
            return SimpleNamespace(description=SimpleNamespace(input=inputs, functions=[]))
        function = SimpleNamespace(name=self._function, input=inputs)
        return SimpleNamespace(description=SimpleNamespace(input=[], functions=[function]))

    def predict(self, data: dict[str, Any]) -> dict[str, np.ndarray]:
        kinds = {
            name: ["image", value.mode, list(value.size)]
            if hasattr(value, "mode")
            else [type(value).__name__, str(value.dtype), list(value.shape)]
            for name, value in data.items()
        }
        _note(predict=kinds)
        time.sleep(float(os.environ.get("FAKE_DELAY", "0")))
        arrays = {
            name: np.asarray(value).transpose(2, 0, 1)[None].astype(np.float32)
            if hasattr(value, "mode")
            else value
            for name, value in data.items()
        }
        names = [tensor.name for tensor in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, arrays), strict=True))


models = SimpleNamespace(MLModel=MLModel)
