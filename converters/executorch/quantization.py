"""ExecuTorch schemes of int8 weights: PT2E, with XNNPACK's quantizer choosing what XNNPACK can run.

Weights are symmetric, one scale for each output channel. In ``w8d`` linear layers have them, and
round their inputs as they come, each token by its own range; in ``w8a8`` convolutions too, and
inputs and outputs have one range each, measured on photos. All else stays float32, softmax, norms,
GELU, attention's products and sums among it: XNNPACK has no int8 kernels for most of it.

Source: torchao.quantization.pt2e; executorch.backends.xnnpack.quantizer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from converters.base import Conversion, capture
from converters.executorch.graph import rewrite
from converters.schemes import SMALL
from converters.spec import MIN_MAX
from mobilesam.errors import ExportError

if TYPE_CHECKING:
    from torchao.quantization.pt2e.quantizer import QuantizationConfig, Quantizer

SCHEMES = ("w8d", "w8a8")

_ATEN = torch.ops.aten
QUANTIZED = {
    # XNNPACK runs convolutions with dynamic ranges, but refuses to load the encoder's.
    "w8d": (_ATEN.linear.default,),
    "w8a8": (_ATEN.linear.default, _ATEN.conv2d.default, _ATEN.conv_transpose2d.input),
}
"""Ops with weights that are int8."""

_SMALLEST_STEP = 2.0**-12
"""The least scale, XNNPACK's own: of a tensor that is all zeros, say."""


def quantize(job: Conversion) -> ExportedProgram:
    """The job's program with int8 weights, activations as its scheme says.

    Args:
        job: its scheme must be one of :data:`SCHEMES`.

    Raises:
        ExportError: a calibrated scheme has no samples, or a sample overflows.
    """
    from executorch.backends.transforms.duplicate_dynamic_quant_chain import (
        DuplicateDynamicQuantChainPass,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    if job.scheme == "w8a8" and job.calibration is None:
        raise ExportError(f"scheme '{job.scheme}' needs photos to be calibrated on")
    module = job.program.module(check_guards=False)
    if job.scheme != "w8a8":  # its activations are audited op by op, as PyTorch names them
        rewrite(module)
    module = prepare_pt2e(module, _quantizer(job))
    _observe(module, job)
    module = convert_pt2e(module)
    if job.scheme == "w8d":
        # Layers that read the same tensor: one range for all makes partitions that need each other.
        DuplicateDynamicQuantChainPass()(module)
    _pad_in_float(module)
    _shrink_tables(module)
    return capture(module, job.inputs, job.signature)


def _quantizer(job: Conversion) -> "Quantizer":
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer

    quantizer = XNNPACKQuantizer()
    # Not set_global: that would round what is concatenated, the positional encoding of points too.
    method = job.calibration.method if job.scheme == "w8a8" and job.calibration else None
    for operation in QUANTIZED[job.scheme]:
        quantizer.set_operator_type(operation, _configuration(method))
    return quantizer


def _configuration(method: str | None) -> "QuantizationConfig":
    """XNNPACK's own, with ranges found by a method of calibration; None: found at each run.

    Histograms (``mse``) take minutes at 1024 and gave no better masks. Measured with earlier
    demo weights at 256: mean mask IoU 0.9835 (encoder) and 0.9814 (decoder), 0.9833 and 0.9807
    without.
    """
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e import (
        HistogramObserver,
        MinMaxObserver,
        MovingAverageMinMaxObserver,
    )

    whole = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=method is None)
    if method is None:
        return whole
    observers = {
        MIN_MAX: MinMaxObserver,
        "moving-average": MovingAverageMinMaxObserver,
        "mse": HistogramObserver,
    }
    observer = observers[method].with_args(eps=_SMALLEST_STEP)
    activation = replace(whole.input_activation, observer_or_fake_quant_ctr=observer)
    return replace(whole, input_activation=activation, output_activation=activation)


def _observe(module: GraphModule, job: Conversion) -> None:
    """Run the observers: on one example, or for a static scheme on every calibration sample."""
    samples: Iterable[Sequence[Tensor]] = [job.inputs]
    if job.scheme == "w8a8" and job.calibration is not None:
        samples = (
            [torch.from_numpy(sample[spec.name]) for spec in job.signature.inputs]
            for sample in job.calibration.samples(job.component)
        )
    seen = False
    for tensors in samples:
        with torch.no_grad():
            outputs = module(*tensors)
        for output in outputs if isinstance(outputs, tuple | list) else [outputs]:
            if not output.isfinite().all():
                raise ExportError(f"the {job.component} overflows on a sample of the calibration")
        seen = True
    if not seen:
        raise ExportError("there is no sample to calibrate on: give at least one photo")


def _pad_in_float(module: GraphModule) -> None:
    """Undo the rounding of what is padded, a copy of values that are rounded already.

    XNNPACK refuses to load the int8 padding that ExecuTorch makes of it.
    """
    for node in module.graph.nodes:
        if node.target != _ATEN.pad.default or not _from(node.args[0], "dequantize_per_tensor"):
            continue
        rounded = node.args[0].args[0]
        for restored in list(rounded.users):
            restored.replace_all_uses_with(rounded.args[0])
    module.graph.eliminate_dead_code()
    module.recompile()


def _from(node: Any, operation: str) -> bool:
    """Whether a node is the result of an operation of ``quantized_decomposed``."""
    return isinstance(node, Node) and str(node.target).startswith(
        f"quantized_decomposed.{operation}."
    )


def _shrink_tables(module: GraphModule) -> None:
    """Store large constants that no op with weights reads as int8, one scale a channel or head.

    Made float again by a cast and a product, which every ExecuTorch runtime has.
    """
    graph = module.graph
    for node in list(graph.nodes):
        if node.op != "get_attr":
            continue
        table: Tensor = attrgetter(node.target)(module)
        if table.dtype != torch.float32 or table.numel() <= SMALL:
            continue
        if any(user.target in QUANTIZED["w8a8"] for user in node.users):
            continue
        axis = next(i for i, side in enumerate(table.shape) if side > 1)
        others = [i for i in range(table.dim()) if i != axis]
        step = (table.abs().amax(others, keepdim=True) / 127).clamp(min=_SMALLEST_STEP)
        name = node.target.replace(".", "_")
        module.register_buffer(f"{name}_int8", (table / step).round().to(torch.int8))
        module.register_buffer(f"{name}_step", step)
        with graph.inserting_after(node):
            whole, size = graph.get_attr(f"{name}_int8"), graph.get_attr(f"{name}_step")
        with graph.inserting_after(whole):
            cast = graph.call_function(_ATEN.to.dtype, (whole, torch.float32))
        with graph.inserting_after(cast):
            product = graph.call_function(_ATEN.mul.Tensor, (cast, size))
        node.replace_all_uses_with(product)
        graph.erase_node(node)
        # What no node reads is written to the file all the same.
        owner, _, own = node.target.rpartition(".")
        delattr(module.get_submodule(owner), own)
    module.recompile()
