"""ExecuTorch programs (``.pte``) in ExecuTorch's own runtime."""

from pathlib import Path

import numpy as np
import torch
from executorch.extension.pybindings import portable_lib
from executorch.runtime import Method, Runtime, Verification

from converters.contract import Component
from mobilesam.errors import BundleError
from parity.runners.base import Arrays
from parity.runners.checked import CheckedRunner, version_of

METHOD = "forward"
"""The method of every exported program; encoder and decoder are files of their own."""


class ExecuTorchRunner(CheckedRunner):
    """The portable runtime with the backends the file was lowered to (XNNPACK)."""

    name = "executorch"

    @property
    def engine(self) -> str:
        return f"ExecuTorch {version_of('executorch')} (XNNPACK)"

    def load(self) -> None:
        if self.threads is not None and portable_lib._threadpool_get_thread_count() != self.threads:
            # The pool belongs to the process, and may only be replaced while nothing runs.
            portable_lib._unsafe_reset_threadpool(self.threads)
        super().load()

    def open_file(self, component: Component, path: Path) -> Method:
        program = Runtime.get().load_program(path, verification=Verification.InternalConsistency)
        if METHOD not in program.method_names:
            found = ", ".join(sorted(program.method_names)) or "none"
            raise BundleError(f"{path} has no method '{METHOD}', only {found}")
        method = program.load_method(METHOD)
        if method is None:
            raise BundleError(f"{path}: the method '{METHOD}' could not be loaded")
        return method

    def execute(self, component: Component, arrays: dict[str, np.ndarray]) -> Arrays:
        method = self._opened[component]
        assert isinstance(method, Method)
        outputs = method.execute([torch.from_numpy(array) for array in arrays.values()])
        return self.name_outputs(component, outputs)
