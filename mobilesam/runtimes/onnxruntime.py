"""ONNX files in ONNX Runtime, on the CPU."""

from pathlib import Path

import numpy as np
import onnxruntime as ort

from mobilesam.bundle.contract import Component
from mobilesam.runtimes.base import Arrays
from mobilesam.runtimes.checked import CheckedRunner, TensorType, TensorTypes, version_of


class ONNXRuntimeRunner(CheckedRunner):
    """An inference session with the CPU execution provider and every graph optimisation."""

    name = "onnxruntime"

    @property
    def engine(self) -> str:
        return f"ONNX Runtime {version_of('onnxruntime')} (CPUExecutionProvider)"

    def open_file(self, component: Component, path: Path) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.log_severity_level = 3  # errors only
        if self.threads is not None:
            options.intra_op_num_threads = self.threads
            options.inter_op_num_threads = 1
        session = ort.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self.check_declared(component, path, *declared(session))
        return session

    def execute(self, component: Component, arrays: dict[str, np.ndarray]) -> Arrays:
        session = self._opened[component]
        assert isinstance(session, ort.InferenceSession)
        names = [tensor.name for tensor in session.get_outputs()]
        return dict(zip(names, session.run(names, arrays), strict=True))


_FLOATS = {"float": "float32", "double": "float64"}
"""ONNX Runtime's names, as the contract has them; all others are the same."""


def declared(session: ort.InferenceSession) -> tuple[TensorTypes, TensorTypes]:
    """Inputs and outputs as the session's file declares them."""
    return (
        {tensor.name: _type(tensor) for tensor in session.get_inputs()},
        {tensor.name: _type(tensor) for tensor in session.get_outputs()},
    )


def _type(tensor: ort.NodeArg) -> TensorType:
    element = tensor.type.removeprefix("tensor(").removesuffix(")")
    # A side that may vary has a name, or none.
    shape = tuple(side if isinstance(side, int) else None for side in tensor.shape)
    return TensorType(shape, _FLOATS.get(element, element))
