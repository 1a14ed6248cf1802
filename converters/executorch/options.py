"""What an export to ExecuTorch can be asked for beside the scheme."""

from collections.abc import Sequence
from typing import Literal

from converters.coreml.options import NO_BYTES
from converters.spec import ExportSpec, TargetOptions
from mobilesam.bundle.contract import InputVariant, Masks
from mobilesam.errors import InputError

Backend = Literal["xnnpack", "coreml"]


class ExecuTorchOptions(TargetOptions):
    """Options of ExecuTorch programs.

    Attributes:
        backend: what runs the program: ``xnnpack``, kernels for CPUs; ``coreml``, Apple's Core ML,
            with a Core ML package inside the file.
    """

    backend: Backend = "xnnpack"

    def check(
        self, schemes: Sequence[str], input_variant: InputVariant, masks: Masks = "low_res"
    ) -> None:
        """Refuse bytes for Core ML, which would be given them by ExecuTorch as a multi-array.

        Raises:
            InputError: says what it takes.
        """
        if self.backend == "coreml" and input_variant == "uint8":
            raise InputError(
                "ExecuTorch hands Core ML multi-arrays, of which it has none of uint8 before iOS "
                "26: use the input variant 'pixels', or target coreml, which takes a pixel buffer"
            )

        if self.backend == "coreml" and masks == "full":
            raise InputError(NO_BYTES)

    def lowered_to(self) -> str:
        """The backend."""
        return self.backend


def executorch_options(spec: ExportSpec) -> ExecuTorchOptions:
    """The options of a bundle of target ``executorch``."""
    assert isinstance(spec.options, ExecuTorchOptions), spec.target
    return spec.options
