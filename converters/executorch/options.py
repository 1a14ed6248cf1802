"""What an export to ExecuTorch can be asked for beside the scheme."""

from typing import Literal

from converters.spec import ExportSpec, TargetOptions

Backend = Literal["xnnpack", "coreml"]


class ExecuTorchOptions(TargetOptions):
    """Options of ExecuTorch programs.

    Attributes:
        backend: what runs the program: ``xnnpack``, kernels for CPUs; ``coreml``, Apple's Core ML,
            with a Core ML package inside the file.
    """

    backend: Backend = "xnnpack"

    def lowered_to(self) -> str:
        """The backend."""
        return self.backend


def executorch_options(spec: ExportSpec) -> ExecuTorchOptions:
    """The options of a bundle of target ``executorch``."""
    assert isinstance(spec.options, ExecuTorchOptions), spec.target
    return spec.options
