"""Activations quantized to 8 bits and back."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.coreml_evaluator.mil_programs import mb
from tests.coreml_evaluator.op_cases.case import Case, floats, halves

# Beyond the range, at its ends, and halfway between two integers.
X = np.concatenate([floats(2, 2, 4), np.array([[[-9, 9, 0.025, 0.075]]] * 2, np.float32)], axis=1)
CHANNELS = np.array([0.01, 0.5, 0.02], np.float32)


def integers(x: Tensor, dtype: str, scale: Any, zero_point: Any = 0, axis: int = -1) -> Tensor:
    """What PyTorch stores for a tensor, as float32."""
    stored = {"int8": torch.qint8, "uint8": torch.quint8}[dtype]
    scales, zeros = torch.tensor(scale, dtype=torch.float64), torch.tensor(zero_point)
    if not scales.dim():
        quantized = torch.quantize_per_tensor(x, float(scale), int(zero_point), stored)
    else:
        zeros = zeros.expand_as(scales)
        quantized = torch.quantize_per_channel(x, scales, zeros, axis % x.dim(), stored)
    return quantized.int_repr().float()


def pair(dtype: str, x: np.ndarray = X, **form: Any) -> list[Case]:
    """A quantize op, and a dequantize op of what one gave."""
    given = {k: np.int32(v) if k == "axis" else v for k, v in form.items()}

    def quantized(v: Any) -> Any:
        return mb.quantize(input=v, output_dtype=dtype, **given)

    def back(v: Any) -> Any:
        return mb.dequantize(input=quantized(v), **given)

    def dequantized(v: Tensor) -> Tensor:
        along = [1] * v.dim()
        along[form.get("axis", -1)] = -1
        scale, zero = (
            torch.tensor(part, dtype=torch.float64).reshape(along if np.ndim(part) else [])
            for part in (form["scale"], form.get("zero_point", 0))
        )
        return (scale * (integers(v.float(), dtype, **form) - zero)).to(v.dtype)

    return [
        Case("quantize", lambda v: mb.cast(x=quantized(v), dtype="fp32"), [x],
             lambda v: integers(v.float(), dtype, **form), 17),
        Case("dequantize", back, [x], dequantized, 17, ours=True),
    ]  # fmt: skip


CASES = [
    *pair("int8", scale=np.float32(0.05)),
    *pair("uint8", scale=np.float32(0.05), zero_point=np.uint8(100)),
    *pair("int8", scale=CHANNELS, zero_point=np.array([1, -100, 127], np.int8), axis=1),
    *pair("uint8", scale=CHANNELS, zero_point=np.array([0, 255, 128], np.uint8), axis=-2),
    *pair("int8", scale=np.array([0.01, 0.5, 0.02, 1], np.float32), axis=-1),
    *pair("int8", x=halves(2, 3, 4), scale=np.float16(0.07), zero_point=np.int8(-7)),
]
