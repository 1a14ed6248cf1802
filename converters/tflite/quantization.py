"""TFLite weights and activations as integers, through ai-edge-quantizer, group by group.

A precision says how each kind of operation is quantized. A plan gives every group of layers one;
the schemes of the table are plans of a single precision, but for the groups that masks need exact.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import redirect_stderr
from io import StringIO
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from converters.calibration import Inputs
from converters.plan import Plan
from converters.spec import MIN_MAX
from converters.tflite.names import group_of, shortened
from mobilesam.errors import ExportError, InputError

if TYPE_CHECKING:
    from ai_edge_quantizer.quantizer import Quantizer


class Rule(NamedTuple):
    """How one kind of operation is quantized.

    Attributes:
        bits: of the weights, symmetric.
        activations: "float": the weights are made float when the file is loaded; "dynamic": int8,
            ranges found at run time; "int8", "int16": ranges calibrated on photos.
        block: weights of an output channel that share a scale; 0: all of them.
        one_scale: for all weights of a layer, instead of one for each output channel.
    """

    bits: int
    activations: str = "float"
    block: int = 0
    one_scale: bool = False

    def fitted(self, width: int) -> "Rule":
        """The rule for weights of ``width`` input channels: those no block divides get 8 bits."""
        return self._replace(bits=8, block=0) if self.block and width % self.block else self


LINEAR, CONV, DEPTHWISE, TRANSPOSED = (
    "FULLY_CONNECTED",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "CONV_2D_TRANSPOSE",
)

PRECISIONS: Mapping[str, Mapping[str, Rule]] = MappingProxyType(
    {
        "float": {},
        "w8": {LINEAR: Rule(8), CONV: Rule(8), DEPTHWISE: Rule(8), TRANSPOSED: Rule(8)},
        # Depthwise and transposed convolutions have no dynamic kernel in XNNPACK: quantized so,
        # they leave it, and the graph falls into 16 partitions instead of 2.
        "w8d": {
            LINEAR: Rule(8, "dynamic"),
            CONV: Rule(8, "dynamic"),
            DEPTHWISE: Rule(8),
            TRANSPOSED: Rule(8),
        },
        "w4": {
            LINEAR: Rule(4, "dynamic", block=32),
            CONV: Rule(8, "dynamic"),
            DEPTHWISE: Rule(8),
            TRANSPOSED: Rule(8),
        },
        # Smallest of all: no scales of blocks, and convolutions too. No scheme of its own: the
        # first convolutions do not bear it, a search finds the groups that do.
        "w4c": {
            LINEAR: Rule(4, "dynamic"),
            CONV: Rule(4, "dynamic"),
            DEPTHWISE: Rule(8),
            TRANSPOSED: Rule(8),
        },
        # Both compile whole for Qualcomm's HTP. It makes floats of weights with one scale only, and
        # takes no depthwise convolution of int16 activations with the int64 bias that they have.
        "w8a8": {
            LINEAR: Rule(8, "int8"),
            CONV: Rule(8, "int8"),
            DEPTHWISE: Rule(8, "int8"),
            TRANSPOSED: Rule(8, one_scale=True),
        },
        "w8a16": {
            LINEAR: Rule(8, "int16"),
            CONV: Rule(8, "int16"),
            TRANSPOSED: Rule(8, one_scale=True),
        },
    }
)
"""Everything that is not named stays float32: norms, softmax, GELU, sums, attention's products."""


_SENSITIVE = (
    "TwoWayBlock0.self_attn",
    "TwoWayBlock0.cross_attn_token_to_image",
    "TwoWayBlock0.cross_attn_image_to_token",
    "TwoWayBlock1.cross_attn_token_to_image",
    "TwoWayBlock1.cross_attn_image_to_token",
)
"""Of the decoder, what `mobilesam sensitivity` puts first: in int4 each alone costs 1 to 3 % of the
masks, ten times as much as in int8."""

PLANS: Mapping[str, Plan] = MappingProxyType(
    {
        **{
            scheme: Plan(target="tflite", default=scheme)
            for scheme in ("w8", "w8d", "w8a8", "w8a16")
        },
        "w4": Plan(target="tflite", default="w4", groups=dict.fromkeys(_SENSITIVE, "w8d")),
    }
)
"""The plan of each scheme."""


def groups_of(content: bytes) -> dict[str, int]:
    """Bytes of quantizable weights in each group of layers of a file.

    Args:
        content: a float32 file.
    """
    found: dict[str, int] = {}
    for operation in _operations(content):
        group = group_of(operation.scope)
        if group and operation.weight_bytes:
            found[group] = found.get(group, 0) + operation.weight_bytes
    return found


Ranges = Mapping[str, Any]
"""Least and greatest value of each tensor of a float32 file, by its name."""


def quantized(content: bytes, plan: Plan, ranges: Ranges | None = None) -> bytes:
    """A float32 file quantized as a plan says; inputs and outputs stay float32.

    Args:
        content: a float32 file.
        plan: of precisions.
        ranges: of this file, needed where a precision has calibrated activations.

    Raises:
        ExportError: ranges are needed and there are none.
        InputError: the plan names a precision that there is not.
    """
    from ai_edge_quantizer.quantizer import Quantizer

    quantizer = Quantizer(content)
    for operation in _operations(content):
        group = group_of(operation.scope)
        rule = precision(plan.of(group)).get(operation.name) if group else None
        if rule is not None and operation.shrinks:
            _add(quantizer, operation, rule)
    if not quantizer.get_quantization_recipe():
        return shortened(content)
    needed = quantizer.need_calibration
    if needed and ranges is None:
        raise ExportError("a precision with calibrated activations needs photos to calibrate on")
    # Its bars; what it warns of goes through logging.
    with redirect_stderr(StringIO()):
        result = quantizer.quantize(
            dict(ranges) if needed and ranges is not None else None,
            enable_progress_report=False,
        )
    return shortened(bytes(result.quantized_model or b""))


class _Operation(NamedTuple):
    """An operation with weights: its kind, its name in the file, the weights' shape and bytes."""

    name: str
    scope: str
    shape: tuple[int, ...]
    weight_bytes: int

    @property
    def shrinks(self) -> bool:
        """Whether integers take less room than float32; beside them are an int64 and a float32
        for each output channel. (LiteRT's GPU accelerator crashes on the one layer that does not
        shrink: the first convolution of a mask, of four weights a channel.)
        """
        channels = self.shape[-1 if self.name == DEPTHWISE else 0]
        return self.weight_bytes // 4 + 12 * channels < self.weight_bytes


_WEIGHTS = {LINEAR: 1, CONV: 1, DEPTHWISE: 1, TRANSPOSED: 1}
"""Place of the weights among an operation's inputs."""


def _operations(content: bytes) -> Iterator[_Operation]:
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils as flatbuffers

    model = flatbuffers.read_model(memoryview(content))
    names = flatbuffers.TFL_OP_CODE_TO_NAME
    graph = model.subgraphs[0]
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex].builtinCode
        name = str(names[code].value) if code in names else ""
        if name not in _WEIGHTS:
            continue
        weights = graph.tensors[operator.inputs[_WEIGHTS[name]]]
        data = model.buffers[weights.buffer].data
        scope = flatbuffers.get_op_scope(operator, graph.tensors)
        shape = tuple(int(side) for side in weights.shape)
        yield _Operation(name, scope, shape, 0 if data is None else len(data))


def precision(name: str) -> Mapping[str, Rule]:
    """The rules of a precision, by kind of operation.

    Raises:
        InputError: there is no such precision.
    """
    if name not in PRECISIONS:
        raise InputError(
            f"unknown precision '{name}' of target tflite, known: {', '.join(PRECISIONS)}"
        )
    return PRECISIONS[name]


def _add(quantizer: "Quantizer", operation: _Operation, rule: Rule) -> None:
    from ai_edge_quantizer.qtyping import QuantGranularity, TFLOperationName

    # By its whole name: a rule is for this operation alone.
    regex = f"^{re.escape(operation.scope)}$"
    kind = TFLOperationName(operation.name)
    rule = rule.fitted(operation.shape[-1])
    bits = rule.bits
    granularity = QuantGranularity.CHANNELWISE
    if rule.block:
        granularity = QuantGranularity(f"BLOCKWISE_{rule.block}")
    elif rule.one_scale:
        granularity = QuantGranularity.TENSORWISE
    if rule.activations == "float":
        quantizer.add_weight_only_config(regex, kind, bits, granularity)
    elif rule.activations == "dynamic":
        quantizer.add_dynamic_config(regex, kind, bits, granularity)
    else:
        activation_bits = int(rule.activations.removeprefix("int"))
        quantizer.add_static_config(regex, kind, activation_bits, bits, granularity)


def calibrated(
    content: bytes,
    samples: Iterable[Inputs],
    signature: str,
    method: str = MIN_MAX,
    *,
    room: float = 1.0,
) -> Ranges:
    """Ranges of a float32 file over samples.

    Args:
        content: a float32 file.
        samples: inputs by name.
        signature: name of the file's signature.
        method: ``min-max``: the widest of all samples; ``moving-average``: an average of them.
        room: by how much the ranges are widened.

    Raises:
        ExportError: there is no sample, or a value is not finite.
    """
    from ai_edge_quantizer.calibrator import CalibrationMode, Calibrator
    from ai_edge_quantizer.recipe_manager import RecipeManager
    from ai_edge_quantizer.utils.qsv_utils import min_max_update, moving_average_update

    calibrator = Calibrator(
        content,
        num_threads=1,
        # It watches every tensor, whatever the recipe.
        mode=CalibrationMode.CALIBRATION_PROFILER_BASED,
        qsv_update_func=min_max_update if method == MIN_MAX else moving_average_update,
    )
    seen = False
    for sample in samples:
        with redirect_stderr(StringIO()):
            calibrator.calibrate({signature: [sample]}, RecipeManager())
        seen = True
    if not seen:
        raise ExportError("there is no sample to calibrate on: give at least one photo")
    found: dict[str, Any] = calibrator.get_model_qsvs()
    for name, value in found.items():
        if value and not all(np.isfinite(bound).all() for bound in value.values()):
            raise ExportError(f"'{name}' is not finite on a calibration sample")
    return {name: {end: bound * room for end, bound in v.items()} for name, v in found.items()}
