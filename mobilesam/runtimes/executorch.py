"""ExecuTorch programs (``.pte``) in ExecuTorch's own runtime."""

import warnings
from pathlib import Path

import numpy as np
import torch
from flatbuffers import encode, packer
from flatbuffers.table import Table

from mobilesam.bundle.contract import Component
from mobilesam.errors import BundleError
from mobilesam.runtimes.base import Arrays
from mobilesam.runtimes.checked import CheckedRunner, version_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # "this API is experimental", on every import
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Method, Runtime, Verification

SCALAR_TYPES = {0: "uint8", 1: "int8", 3: "int32", 4: "int64", 5: "float16", 6: "float32"}
SCALAR_TYPES |= {7: "float64", 11: "bool", 15: "bfloat16"}
"""Dtypes by ExecuTorch's numbers. Source: its ``schema/scalar_type.fbs``."""


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

    def open_file(self, component: Component, path: Path) -> Method | None:
        program = Runtime.get().load_program(path, verification=Verification.InternalConsistency)
        signature = self.bundle.manifest.signatures[component]
        if signature.name not in program.method_names:
            found = ", ".join(sorted(program.method_names)) or "none"
            raise BundleError(f"{path} has no method '{signature.name}', only {found}")
        about = program.metadata(signature.name)
        given = [about.input_tensor_meta(i) for i in range(about.num_inputs())]
        inputs = [f"{SCALAR_TYPES.get(t.dtype(), '?')} {list(t.sizes())}" for t in given]
        wanted = [f"{spec.dtype} {list(spec.shape)}" for spec in signature.inputs]
        if inputs != wanted:
            raise BundleError(
                f"{path} is not what its manifest says: it takes {', '.join(inputs)}, not "
                f"{', '.join(wanted)}"
            )
        return program.load_method(signature.name)

    def execute(self, component: Component, arrays: dict[str, np.ndarray]) -> Arrays:
        method = self._opened[component]
        assert isinstance(method, Method)
        outputs = method.execute([torch.from_numpy(array) for array in arrays.values()])
        return self.name_outputs(component, outputs)

    def delegate_partitions(self, component: Component) -> int | None:
        """Pieces that XNNPACK took over; what lies between them runs on portable kernels."""
        return _delegates(self.file(component).read_bytes())


def _delegates(program: bytes) -> int:
    """Delegates of a program's first method. Source: ExecuTorch's ``schema/program.fbs``."""
    root = Table(program, encode.Get(packer.uoffset, program, 0))
    plans = root.Vector(root.Offset(_slot(1)))
    plan = Table(program, root.Indirect(plans))
    found = plan.Offset(_slot(7))
    return int(plan.VectorLen(found)) if found else 0


def _slot(field: int) -> int:
    """Where a table's index has a field, counted from 0 in the schema's order."""
    return 4 + 2 * field
