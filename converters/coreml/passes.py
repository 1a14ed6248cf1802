"""Our own graph passes for coremltools; importing this module registers them."""

from collections.abc import Mapping

import numpy as np
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import Function, Operation, Program, Var, types
from coremltools.converters.mil.mil.passes.defs.quantization import FP16ComputePrecision
from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
from coremltools.converters.mil.mil.passes.helper import block_context_manager
from coremltools.converters.mil.mil.passes.pass_registry import register_pass

from converters.coreml.precision import HalfSelector

NAME_OPS = "mobilesam::name_ops_after_values"
HALF = "mobilesam::half_but_coordinates"


@register_pass(namespace="mobilesam")
class name_ops_after_values(AbstractGraphPass):  # noqa: N801 - the class's name is the pass's
    """Name each op after its value, because later passes derive names from the op's.

    A fused op has a number for a name ("linear_17") but still the layer's value.
    """

    def apply(self, prog: Program) -> None:
        for function in prog.functions.values():
            self._rename(function)

    def _rename(self, function: Function) -> None:
        for operation in function.operations:
            if len(operation.outputs) == 1 and operation.op_type != "const":
                operation.name = operation.outputs[0].name


@register_pass(namespace="mobilesam")
class half_but_coordinates(FP16ComputePrecision):  # noqa: N801 - the class's name is the pass's
    """Float16 where :class:`HalfSelector` allows it."""

    def __init__(self) -> None:
        super().__init__(op_selector=HalfSelector())


QUANTIZED = ("conv", "linear")
"""Ops whose input is quantized: those that coremltools quantizes and that have weights. Attention
products, softmax, norms, GELU, residual sums and transposed convolutions stay float."""

FLOAT_LAYERS = (
    "image_encoder_patch_embed",
    "image_encoder_layers_0_",
    "prompt_encoder_mask_downscaling_0_",
)
"""How the names of ops begin whose input stays float all the same.

The convolutions of the patch embedding and the first stage, a sixth of the encoder's arithmetic:
measured with earlier demo weights at 512, relative L2 of the embedding 0.019 with them quantized,
0.011 without, 0.005 with ``linear`` alone (w8: 0.005). The first convolution of the mask input, one
channel to four: measured at 256, rounding the logits that go into it alone put the IoU predictions
of a refined mask off by 0.042, and all other roundings together by 0.003."""

_LOW, _HIGH = -128, 127


class quantize_inputs(AbstractGraphPass):  # noqa: N801 - as coremltools calls its own
    """Put ``quantize`` and ``dequantize`` before the input of each op of :data:`QUANTIZED`.

    Int8 with one scale and one zero point a tensor, so that the range's ends and zero are kept. A
    tensor that several ops read is quantized once. Float32 tensors stay as they are: they are
    coordinates.

    Args:
        ranges: least and greatest value of each tensor by name; those without stay float.
    """

    def __init__(self, ranges: Mapping[str, tuple[float, float]]) -> None:
        self.ranges = ranges

    def apply(self, prog: Program) -> None:
        for function in prog.functions.values():
            self._quantize(function)

    @block_context_manager
    def _quantize(self, block: Function) -> None:
        made: dict[str, Var] = {}
        for operation in list(block.operations):
            if operation.op_type not in QUANTIZED or operation.name.startswith(FLOAT_LAYERS):
                continue
            x = operation.inputs["x"]
            if x.dtype == types.fp16 and x.name in self.ranges:
                if x.name not in made:
                    made[x.name] = self._rounded(x, operation)
                operation.set_inputs(x=made[x.name])

    def _rounded(self, x: Var, before: Operation) -> Var:
        scale, zero = int8_grid(*self.ranges[x.name], types.nptype_from_builtin(x.dtype))
        numbers = {"scale": scale, "zero_point": zero, "before_op": before}
        whole = mb.quantize(input=x, output_dtype="int8", name=f"{x.name}_int8", **numbers)
        return mb.dequantize(input=whole, name=f"{x.name}_from_int8", **numbers)


def int8_grid(low: float, high: float, dtype: type[np.floating]) -> tuple[np.floating, np.int8]:
    """Scale and zero point of 256 steps that hold low, high and, exactly, zero.

    Args:
        low, high: finite.
        dtype: of the scale.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale = dtype((high - low) / (_HIGH - _LOW))
    if not scale:  # nothing but zeros, or less than the dtype can tell from them
        return dtype(1), np.int8(0)
    return scale, np.int8(np.clip(round(_LOW - low / float(scale)), _LOW, _HIGH))
