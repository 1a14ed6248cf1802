"""LiteRT's GPU delegate, by the rules of its source: nothing is asked, no GPU is needed.

A graph is taken op by op: by its kind, the types of its tensors and their rank. What the
accelerator of the wheel (ML Drift) refuses beyond that was measured. Whether the masks are right
there is another question: `mobilesam parity --runtime litert_gpu`. What is known to come out wrong
counts as refused here.

Source: ``tflite/delegates/gpu/common/model_builder.cc`` of LiteRT, ``NewOperationParser`` and
``GetOpsToReplace``; measured: ai-edge-litert 2.3.0 on Mesa's lavapipe.
"""

import math
from collections import Counter
from pathlib import Path

from mobilesam.bundle.manifest import FileRecord
from parity.delegates.records import Found
from parity.delegates.tflite_graph import Op, read_ops

HOW = "rules of LiteRT's source (model_builder.cc) and of ai-edge-litert 2.3.0, measured"

OPS = frozenset(
    {"ABS", "ADD", "ADD_N", "AVERAGE_POOL_2D", "BATCH_MATMUL", "CAST", "CONCATENATION", "CONV_2D"}
    | {"COS", "CUMSUM", "DENSIFY", "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE", "DEQUANTIZE", "DIV"}
    | {"EQUAL", "ELU", "EXP", "FLOOR", "FLOOR_DIV", "FLOOR_MOD", "FULLY_CONNECTED", "GATHER"}
    | {"GELU", "GREATER", "GREATER_EQUAL", "HARD_SWISH", "LESS", "LESS_EQUAL", "LOGISTIC", "LOG"}
    | {"LOGICAL_AND", "LSTM", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MIRROR_PAD", "MUL"}
    | {"NEG", "NOT_EQUAL", "ONE_HOT", "PACK", "PAD", "PADV2", "POW", "REDUCE_MAX", "REDUCE_MIN"}
    | {"REDUCE_PROD", "QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "PRELU"}
    | {"RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "RSQRT", "SIGN", "SIN", "SLICE"}
    | {"SOFTMAX", "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V", "SQRT", "SQUARE", "SQUARED_DIFFERENCE"}
    | {"STRIDED_SLICE", "SUB", "SUM", "TANH", "TILE", "TRANSPOSE", "TRANSPOSE_CONV", "UNPACK"}
)
"""Ops that both take. The source has RELU_0_TO_1, SELECT and SELECT_V2 too, which the accelerator
was measured to refuse."""

TYPES = frozenset({"FLOAT32", "FLOAT16", "INT8", "UINT8"})
"""Of tensors that are no constants; int8 with the delegate's quantized ops, its default."""

COMPARISONS = ("EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL")

ALSO = {
    "CAST": frozenset({"BOOL", "INT32"}),
    "ONE_HOT": frozenset({"INT32"}),
    "GATHER": frozenset({"INT32"}),
    "LOGICAL_AND": frozenset({"BOOL"}),
} | dict.fromkeys(COMPARISONS, frozenset({"BOOL"}))
"""Types that single ops take beside those."""

ELEMENTWISE = (
    *("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "POW", "SQUARED_DIFFERENCE"),
    *("FLOOR_DIV", "FLOOR_MOD", *COMPARISONS),
)

FROM_COMPUTED = ("CAST", "GATHER")
"""Ops that compute nothing from a constant alone."""

MOST_AXES = 4

MOST_TERMS = 2048
"""Of a sum of products of two computed tensors: it adds up in float16, and near 1 half of 1/2048 is
lost. Measured: over 4,096 cells 3 % of an attention's sum is missing."""


def ask(path: Path, record: FileRecord) -> Found:
    """What stays outside the GPU."""
    ops = read_ops(path)
    outside = Counter((op.name, why) for op in ops if (why := refusal(op)))
    return Found.of(HOW, len(ops), outside)


def refusal(op: Op) -> str:
    """Why the delegate does not take an op; empty where it does."""
    if op.name not in OPS:
        return "the GPU delegate has no such op"
    for value in (*op.inputs, *op.outputs):
        if value.rank > MOST_AXES:
            return f"a tensor of {value.rank} axes, it takes {MOST_AXES}"
        if not value.constant and value.dtype not in TYPES | ALSO.get(op.name, frozenset()):
            return f"a tensor of {value.dtype}, which it does not compute in"
    if op.name == "GATHER" and op.inputs[1].rank > 1:
        return f"indices of {op.inputs[1].rank} axes, it takes 1"
    if op.name in FROM_COMPUTED and op.inputs[0].constant:
        return "a constant input, it takes what is computed"
    weights = op.inputs[0] if op.name == "DEQUANTIZE" else None
    if weights is not None and weights.constant and (weights.dtype, weights.rank) == ("INT8", 2):
        return "int8 weights of a linear layer that are made float32 when the file runs"
    if op.name in ELEMENTWISE and _misread(op):
        return "a constant with as many axes as what it meets, which it broadcasts wrongly"
    if op.name == "BATCH_MATMUL" and (terms := _terms(op)) > MOST_TERMS:
        return f"sums of {terms} products, which it adds up in float16 and takes too small"
    if any(value.blocks for value in op.inputs):
        return "blocks of weights with scales of their own, which crash it"
    return ""


def _terms(op: Op) -> int:
    """Products in each sum of a product of matrices, whichever of them is transposed."""
    one, other, made = (math.prod(value.shape[-2:]) for value in (*op.inputs, *op.outputs))
    return math.isqrt(one * other // made)


def _misread(op: Op) -> bool:
    """Whether a constant reaches the axis that the accelerator takes for the batch.

    It counts a constant's axes from the last, but the first of a computed tensor is the batch.
    """
    if len(op.inputs) != 2 or op.inputs[0].constant == op.inputs[1].constant:
        return False
    computed, constant = sorted(op.inputs, key=lambda value: value.constant)
    sides = max(
        (constant.rank - n for n, side in enumerate(constant.shape) if side != 1), default=0
    )
    if computed.rank == MOST_AXES:
        return sides == MOST_AXES and constant.shape[0] != computed.shape[0]
    return sides > 0 and sides >= computed.rank
