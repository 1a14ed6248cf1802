"""What an export to ONNX can be asked for beside the scheme."""

from collections.abc import Sequence
from dataclasses import replace

from converters.spec import ExportSpec, TargetOptions
from mobilesam.bundle.contract import Contract, InputVariant, Interface, Masks
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
        interface: ``mobilesam``: the tensors of every other target; ``sam``: those of SAM's own
            ONNX export, for programs that speak it (:mod:`mobilesam.bundle.sam_interface`).
    """

    opset: int = DEFAULT_OPSET
    interface: Interface = "mobilesam"

    def check(
        self, schemes: Sequence[str], input_variant: InputVariant, masks: Masks = "low_res"
    ) -> None:
        """Refuse an operator set that cannot be written, and SAM's interface for normalised input.

        Raises:
            InputError: says which can.
        """
        if self.opset not in OPSETS:
            raise InputError(f"opset must be {OPSETS[0]} to {OPSETS[-1]}, not {self.opset}")
        if self.interface == "sam" and input_variant != "pixels":
            raise InputError(
                "the ONNX interface 'sam' takes a photo's values of 0 to 255: it needs the input "
                f"variant 'pixels', not '{input_variant}'"
            )
        if self.interface == "sam" and masks == "full":
            raise InputError(
                "the ONNX interface 'sam' has masks of its own, at the photo's size: leave out "
                "either it or --masks full"
            )

    def contract(self, contract: Contract) -> Contract:
        """The contract with the interface's tensors; SAM's has any number of points.

        Raises:
            InputError: SAM's interface was asked for with a float16 embedding.
        """
        if self.interface == "mobilesam":
            return contract
        if contract.embedding_type != "float32":
            raise InputError(
                "the ONNX interface 'sam' has float32 tensors of its own: leave out either it or "
                f"--embedding {contract.embedding_type}"
            )
        counts = tuple(range(1, contract.slots + 1))
        return replace(contract, interface=self.interface, slot_counts=counts)


def onnx_options(spec: ExportSpec) -> ONNXOptions:
    """The options of a bundle of target ``onnx``."""
    assert isinstance(spec.options, ONNXOptions), spec.target
    return spec.options
