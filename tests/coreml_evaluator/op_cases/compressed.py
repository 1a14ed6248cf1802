"""Compressed weights: coremltools' own decompression is the independent answer."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.coreml_evaluator.mil_programs import mb, types
from tests.coreml_evaluator.op_cases.case import RANDOM, Case, floats, halves

ZERO = np.zeros(1, np.float32)


def dense(op: str, build: Callable[[], Any], ios: int = 18) -> Case:
    """A weight added to a zero; coremltools decompresses the weight alone."""

    def program(x: Any) -> Any:
        weight = build()
        return mb.add(x=weight if weight.dtype == types.fp32 else mb.cast(x=weight, dtype="fp32"),
                      y=x)  # fmt: skip

    return Case(op, program, [ZERO], None, ios, alone=build)


def weight(op: str, ios: int = 18, **arguments: Any) -> Case:
    return dense(op, lambda: getattr(mb, op)(**arguments), ios)


def some(*shape: int, half: bool) -> np.ndarray:
    return halves(*shape) if half else floats(*shape)


def few_bits(values: np.ndarray, name: str) -> np.ndarray:
    """Integers in the NumPy type that coremltools has for one of few bits, such as ``uint4``."""
    signed = np.int8 if name.startswith("int") else np.uint8
    return values.astype(signed).astype(types.nptype_from_builtin(getattr(types, name)))


def integers(name: str, *shape: int) -> np.ndarray:
    bits = int(name.lstrip("uint"))
    low = -(2 ** (bits - 1)) if name.startswith("int") else 0
    return few_bits(RANDOM.integers(low, low + 2**bits, shape), name)


def affine(axis: int, zero: Any, half: bool = False) -> Case:
    shape = (4, 5, 3)
    return weight(
        "constexpr_affine_dequantize",
        16,
        quantized_data=integers(str(np.asarray(zero).dtype), *shape),
        zero_point=zero,
        scale=np.abs(some(shape[axis], half=half)),
        axis=np.int32(axis),
    )


def packed_lut(bits: int, *shape: int) -> Case:
    count = int(np.prod(shape))
    stored = RANDOM.integers(0, 2**bits, count)
    stream = ((stored[:, None] >> np.arange(bits)) & 1).astype(np.uint8).ravel()
    return weight(
        "constexpr_lut_to_dense",
        16,
        indices=np.packbits(stream, bitorder="little"),
        lut=floats(2**bits),
        shape=np.array(shape, np.uint32),
    )


def packed_sparse(*shape: int) -> Case:
    mask = RANDOM.random(int(np.prod(shape))) < 0.4
    return weight(
        "constexpr_sparse_to_dense",
        16,
        nonzero_data=floats(int(mask.sum())),
        mask=np.packbits(mask, bitorder="little"),
        shape=np.array(shape, np.uint32),
    )


def lut(bits: int, shape: tuple[int, ...], groups: tuple[int, ...], vector: int = 1) -> Case:
    arguments: dict[str, Any] = {
        "indices": integers(f"uint{bits}", *shape),
        "lut": floats(*groups, 2**bits, vector),
    }
    if vector > 1:
        arguments["vector_axis"] = np.int32(len(shape) - 1 if vector == 2 else 0)
    return weight("constexpr_lut_to_dense", **arguments)


def blockwise(name: str, blocks: tuple[int, ...], offset: str | None, half: bool = False) -> Case:
    arguments: dict[str, Any] = {
        "data": integers(name, 4, 6),
        "scale": np.abs(some(*blocks, half=half)),
    }
    if offset == "float":
        arguments["offset"] = some(*blocks, half=half)
    elif offset:
        arguments["offset"] = integers(offset, *blocks)
    return weight("constexpr_blockwise_shift_scale", **arguments)


def mask_of(*shape: int) -> np.ndarray:
    return few_bits(RANDOM.random(shape) < 0.5, "uint1")


def sparse() -> Case:
    mask = mask_of(4, 6)
    count = int(np.count_nonzero(mask))
    return weight("constexpr_sparse_to_dense", nonzero_data=floats(count), mask=mask)


def lut_sparse(vector: int = 1) -> Case:
    mask = mask_of(4, 6)
    arguments: dict[str, Any] = {
        "indices_mask": mask,
        "indices_nonzero_data": integers("uint4", int(np.count_nonzero(mask))),
        "lut": floats(2, 1, 16, vector),
    }
    if vector > 1:
        arguments["vector_axis"] = np.int32(0)

    def build() -> Any:
        expanded, nonzero = mb.constexpr_lut_to_sparse(**arguments)
        return mb.constexpr_sparse_to_dense(nonzero_data=nonzero, mask=expanded)

    return dense("constexpr_lut_to_sparse", build)


def blockwise_sparse(offset: bool) -> Case:
    mask = mask_of(4, 6)
    arguments: dict[str, Any] = {
        "data_mask": mask,
        "nonzero_data": integers("int8", int(np.count_nonzero(mask))),
        "scale": np.abs(floats(4, 1)),
    }
    if offset:
        arguments["offset"] = integers("int8", 4, 1)

    def build() -> Any:
        same, nonzero = mb.constexpr_sparse_blockwise_shift_scale(**arguments)
        return mb.constexpr_sparse_to_dense(nonzero_data=nonzero, mask=same)

    return dense("constexpr_sparse_blockwise_shift_scale", build)


def lut_then_scale() -> Case:
    """Palettized to int8 values that are scaled per channel: coremltools' joint compression."""
    indices, table = integers("uint4", 4, 6), integers("int8", 1, 1, 16, 1)
    scale = np.abs(floats(4, 1))

    def build() -> Any:
        data = mb.constexpr_lut_to_dense(indices=indices, lut=table)
        return mb.constexpr_blockwise_shift_scale(data=data, scale=scale)

    return dense("constexpr_blockwise_shift_scale", build)


CASES = [
    affine(0, np.array([1, -2, 3, 127], np.int8)),
    affine(0, np.array([0, 255, 7, 128], np.uint8)),
    affine(1, np.array([5, 4, 3, 2, -128], np.int8), half=True),
    affine(-2, np.int8(-3)),
    *(packed_lut(bits, 3, 5, 2) for bits in (1, 2, 4, 6, 8)),
    packed_sparse(3, 5, 2),
    *(lut(bits, (4, 6), (1, 1)) for bits in (1, 2, 3, 4, 6, 8)),
    lut(2, (4, 6), (2, 1)),
    lut(4, (4, 6, 2), (2, 3, 1)),
    lut(4, (4, 6), (1, 1), vector=2),
    lut(2, (4, 6), (2, 1), vector=4),
    *(blockwise(name, (4, 1), None) for name in ("int4", "uint4", "int8", "uint8")),
    blockwise("int4", (4, 3), None, half=True),
    blockwise("uint4", (4, 2), "uint4"),
    blockwise("uint8", (1, 1), "uint8"),
    blockwise("int8", (2, 6), "float"),
    sparse(),
    lut_sparse(),
    lut_sparse(vector=2),
    blockwise_sparse(offset=False),
    blockwise_sparse(offset=True),
    lut_then_scale(),
    weight("constexpr_cast", 16, source_val=halves(3, 4), output_dtype="fp32"),
]
