"""Our own graph passes for coremltools; importing this module registers them."""

from coremltools.converters.mil.mil import Function, Program
from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
from coremltools.converters.mil.mil.passes.pass_registry import register_pass

NAME_OPS = "mobilesam::name_ops_after_values"


@register_pass(namespace="mobilesam")
class name_ops_after_values(AbstractGraphPass):  # noqa: N801 - the class's name is the pass's
    """Name each op after its value: later passes name what they make after the op.

    A fused op has a number for a name ("linear_17") but still the layer's value.
    """

    def apply(self, prog: Program) -> None:
        for function in prog.functions.values():
            self._rename(function)

    def _rename(self, function: Function) -> None:
        for operation in function.operations:
            if len(operation.outputs) == 1 and operation.op_type != "const":
                operation.name = operation.outputs[0].name
