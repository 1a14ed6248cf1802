"""TorchScript files (``.pt``) in PyTorch's own interpreter."""

import warnings
from pathlib import Path

import numpy as np
import torch

from mobilesam.bundle.contract import Component
from mobilesam.errors import BundleError
from mobilesam.runtimes.base import Arrays
from mobilesam.runtimes.checked import CheckedRunner, torch_threads, version_of


class TorchScriptRunner(CheckedRunner):
    """``torch.jit.load``, on the CPU."""

    name = "torchscript"

    @property
    def engine(self) -> str:
        return f"TorchScript (PyTorch {version_of('torch')})"

    def open_file(self, component: Component, path: Path) -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            module = torch.jit.load(str(path), map_location="cpu")
        wanted = [spec.name for spec in self.bundle.manifest.signatures[component].inputs]
        found = [argument.name for argument in module.forward.schema.arguments[1:]]
        if found != wanted:
            raise BundleError(
                f"{path} is not what its manifest says: it takes {', '.join(found)}, not "
                f"{', '.join(wanted)}"
            )
        return module

    def execute(self, component: Component, arrays: dict[str, np.ndarray]) -> Arrays:
        module = self._opened[component]
        assert callable(module)
        with torch_threads(self.threads), torch.inference_mode():
            outputs = module(*(torch.from_numpy(array) for array in arrays.values()))
        return self.name_outputs(component, outputs)
