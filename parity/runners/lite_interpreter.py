"""TorchScript files of the lite interpreter (``.ptl``), PyTorch's former mobile runtime."""

import warnings
from pathlib import Path

from converters.contract import Component
from parity.runners.checked import version_of
from parity.runners.torchscript import TorchScriptRunner


class LiteInterpreterRunner(TorchScriptRunner):
    """The bytecode interpreter of PyTorch Mobile, in this process."""

    name = "lite_interpreter"

    @property
    def engine(self) -> str:
        return f"lite interpreter (PyTorch {version_of('torch')})"

    def open_file(self, component: Component, path: Path) -> object:
        from torch.jit.mobile import _load_for_lite_interpreter

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return _load_for_lite_interpreter(str(path), map_location="cpu")
