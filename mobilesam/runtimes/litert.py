"""TFLite files in LiteRT, on the CPU with XNNPACK."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from mobilesam.bundle.contract import Component
from mobilesam.errors import BundleError
from mobilesam.runtimes.base import Arrays
from mobilesam.runtimes.checked import CheckedRunner, TensorType, version_of


class _Opened(NamedTuple):
    interpreter: Any
    signature: Any


class LiteRTRunner(CheckedRunner):
    """The interpreter with its default delegate, called by signature name."""

    name = "litert"

    @property
    def engine(self) -> str:
        return f"LiteRT {version_of('ai-edge-litert')} (XNNPACK)"

    def open_file(self, component: Component, path: Path) -> _Opened:
        interpreter = Interpreter(model_path=str(path), num_threads=self.threads)
        interpreter.allocate_tensors()  # refused once a signature runner exists
        wanted = self.bundle.manifest.signatures[component].name
        found = interpreter.get_signature_list()
        if wanted not in found:
            raise BundleError(
                f"{path} has no signature '{wanted}', only {', '.join(found) or 'none'}"
            )
        runner = interpreter.get_signature_runner(wanted)
        self.check_declared(
            component,
            path,
            _types(runner.get_input_details()),
            _types(runner.get_output_details()),
        )
        return _Opened(interpreter, runner)

    def execute(self, component: Component, arrays: dict[str, np.ndarray]) -> Arrays:
        opened = self._opened[component]
        assert isinstance(opened, _Opened)
        outputs: dict[str, np.ndarray] = opened.signature(**arrays)
        return outputs

    def delegate_partitions(self, component: Component) -> int | None:
        """Nodes that XNNPACK made of the graph; 1 when it took all of it."""
        opened = self._opened[component]
        assert isinstance(opened, _Opened)
        nodes = opened.interpreter._get_ops_details()
        return sum(node["op_name"] == "DELEGATE" for node in nodes)


def _types(details: dict[str, Any]) -> dict[str, TensorType]:
    return {
        name: TensorType(tuple(map(int, tensor["shape"])), np.dtype(tensor["dtype"]).name)
        for name, tensor in details.items()
    }
