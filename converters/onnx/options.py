"""What an export to ONNX can be asked for beside the scheme."""

from collections.abc import Sequence

from converters.spec import ExportSpec, TargetOptions
from mobilesam.bundle.contract import InputVariant
from mobilesam.errors import InputError

OPSETS = range(18, 22)
"""The operator sets that the exporter writes and ONNX Runtime's quantizer takes."""

DEFAULT_OPSET = 20
"""The first with a Gelu operation of its own."""


class ONNXOptions(TargetOptions):
    """Options of ONNX files.

    Attributes:
        opset: the operator set, one of :data:`OPSETS`. The file says the lowest IR version that
            allows it, so that old runtimes which know the operators do not refuse it.
    """

    opset: int = DEFAULT_OPSET

    def check(self, schemes: Sequence[str], input_variant: InputVariant) -> None:
        """Refuse an operator set that cannot be written.

        Raises:
            InputError: says which can.
        """
        if self.opset not in OPSETS:
            raise InputError(f"opset must be {OPSETS[0]} to {OPSETS[-1]}, not {self.opset}")


def onnx_options(spec: ExportSpec) -> ONNXOptions:
    """The options of a bundle of target ``onnx``."""
    assert isinstance(spec.options, ONNXOptions), spec.target
    return spec.options
