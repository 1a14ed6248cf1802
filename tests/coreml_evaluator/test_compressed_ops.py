"""Compressed weights, read back from saved packages, against what coremltools decompresses.

coremltools' decompression is an answer that we did not write; where a case can be told by hand, it
is told by hand too.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from coreml_evaluator import CoreMLProgram
from coreml_evaluator.ops.compressed import OPS, spread, unpacked
from tests.coreml_evaluator.mil_programs import fold, mb, save_program, types

RANDOM = np.random.default_rng(0)
ZERO = np.zeros(1, np.float32)

Build = Callable[[], Any]


def few_bits(values: np.ndarray, name: str) -> np.ndarray:
    """Integers in the NumPy type that coremltools has for one of few bits, such as ``uint4``."""
    signed = np.int8 if name.startswith("int") else np.uint8
    return values.astype(signed).astype(types.nptype_from_builtin(getattr(types, name)))


def integers(name: str, *shape: int) -> np.ndarray:
    bits = int(name.lstrip("uint"))
    low = -(2 ** (bits - 1)) if name.startswith("int") else 0
    return few_bits(RANDOM.integers(low, low + 2**bits, shape), name)


def floats(*shape: int, half: bool = False) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float16 if half else np.float32)


class Case(NamedTuple):
    """How a weight is compressed, and the lowest iOS that has this form."""

    op: str
    build: Build
    ios: int = 18


def case(op: str, ios: int = 18, **arguments: Any) -> Case:
    return Case(op, lambda: getattr(mb, op)(**arguments), ios)


def affine(axis: int, zero: Any, half: bool = False) -> Case:
    shape = (4, 5, 3)
    return case(
        "constexpr_affine_dequantize",
        16,
        quantized_data=integers(str(np.asarray(zero).dtype), *shape),
        zero_point=zero,
        scale=np.abs(floats(shape[axis], half=half)),
        axis=np.int32(axis),
    )


def packed_lut(bits: int, *shape: int) -> Case:
    count = int(np.prod(shape))
    stored = RANDOM.integers(0, 2**bits, count)
    stream = ((stored[:, None] >> np.arange(bits)) & 1).astype(np.uint8).ravel()
    return case(
        "constexpr_lut_to_dense",
        16,
        indices=np.packbits(stream, bitorder="little"),
        lut=floats(2**bits),
        shape=np.uint32(shape),
    )


def packed_sparse(*shape: int) -> Case:
    mask = RANDOM.random(int(np.prod(shape))) < 0.4
    return case(
        "constexpr_sparse_to_dense",
        16,
        nonzero_data=floats(int(mask.sum())),
        mask=np.packbits(mask, bitorder="little"),
        shape=np.uint32(shape),
    )


def lut(bits: int, shape: tuple[int, ...], groups: tuple[int, ...], vector: int = 1) -> Case:
    arguments: dict[str, Any] = {
        "indices": integers(f"uint{bits}", *shape),
        "lut": floats(*groups, 2**bits, vector),
    }
    if vector > 1:
        arguments["vector_axis"] = np.int32(len(shape) - 1 if vector == 2 else 0)
    return case("constexpr_lut_to_dense", **arguments)


def blockwise(name: str, blocks: tuple[int, ...], offset: str | None, half: bool = False) -> Case:
    arguments: dict[str, Any] = {
        "data": integers(name, 4, 6),
        "scale": np.abs(floats(*blocks, half=half)),
    }
    if offset == "float":
        arguments["offset"] = floats(*blocks, half=half)
    elif offset:
        arguments["offset"] = integers(offset, *blocks)
    return case("constexpr_blockwise_shift_scale", **arguments)


def mask_of(*shape: int) -> np.ndarray:
    return few_bits(RANDOM.random(shape) < 0.5, "uint1")


def sparse() -> Case:
    mask = mask_of(4, 6)
    count = int(np.count_nonzero(mask))
    return case("constexpr_sparse_to_dense", nonzero_data=floats(count), mask=mask)


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

    return Case("constexpr_lut_to_sparse", build)


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

    return Case("constexpr_sparse_blockwise_shift_scale", build)


def lut_then_scale() -> Case:
    """Palettized to int8 values that are scaled per channel: coremltools' joint compression."""
    indices, table = integers("uint4", 4, 6), integers("int8", 1, 1, 16, 1)
    scale = np.abs(floats(4, 1))

    def build() -> Any:
        data = mb.constexpr_lut_to_dense(indices=indices, lut=table)
        return mb.constexpr_blockwise_shift_scale(data=data, scale=scale)

    return Case("constexpr_blockwise_shift_scale", build)


CASES = [
    affine(0, np.int8([1, -2, 3, 127])),
    affine(0, np.uint8([0, 255, 7, 128])),
    affine(1, np.int8([5, 4, 3, 2, -128]), half=True),
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
    case("constexpr_cast", 16, source_val=floats(3, 4, half=True), output_dtype="fp32"),
]


def test_every_op_has_a_case() -> None:
    assert {one.op for one in CASES} == set(OPS)


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda n: f"{CASES[n].op}-{n}")
def test_weights_are_what_coremltools_decompresses(number: int, tmp_path: Path) -> None:
    found: list[Any] = []

    def build(x: Any) -> Any:
        weight = CASES[number].build()
        found.append(weight)
        wide = weight if weight.dtype == types.fp32 else mb.cast(x=weight, dtype="fp32")
        return mb.add(x=wide, y=x)

    path = save_program(tmp_path, build, [ZERO], CASES[number].ios)
    expected = found[-1].op.materialized_val_inference()
    opened = CoreMLProgram(path)
    assert CASES[number].op in opened.op_types
    (weight,) = opened.run({"in0": ZERO}).values()
    assert tuple(weight.shape) == expected.shape
    assert expected.dtype in (np.float32, np.float16)
    limit = 1e-6 if expected.dtype == np.float32 else 1e-3  # where a half is rounded may differ
    np.testing.assert_allclose(weight.numpy(), expected.astype(np.float32), rtol=limit)


def test_bits_are_unpacked_from_the_lowest() -> None:
    packed = torch.tensor([0b01_10_11_00, 0b11])  # the reference's own example
    assert unpacked(packed, 2, 5).tolist() == [0, 3, 2, 1, 3]
    # 6 bits: the second number begins in the first byte and ends in the second.
    assert unpacked(torch.tensor([0b01_000001, 0b0000_1000]), 6, 2).tolist() == [1, 0b100001]


def test_blocks_are_spread() -> None:
    blocks = torch.tensor([[1, 2], [3, 4]])
    assert spread(blocks, (2, 4)).tolist() == [[1, 1, 2, 2], [3, 3, 4, 4]]
    assert spread(blocks[:1], (2, 2)).tolist() == [[1, 2], [1, 2]]


def test_decompressed_weights_replace_their_parts(tmp_path: Path) -> None:
    weight = lut(4, (4, 6), (1, 1))
    path = save_program(tmp_path, lambda x: mb.add(x=weight.build(), y=x), [ZERO], 18)
    opened = CoreMLProgram(path)
    kept = [v for v in opened._constants.values() if isinstance(v, torch.Tensor) and v.dim() > 1]
    assert [tuple(value.shape) for value in kept] == [(4, 6)]  # neither indices nor table
    first, second = (opened.run({"in0": ZERO}) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


QUANTIZED = [
    {"scale": np.float32(0.05), "output_dtype": "int8"},
    {"scale": np.float32(0.05), "zero_point": np.uint8(100), "output_dtype": "uint8"},
    {"scale": np.float32([0.01, 0.5, 0.02]), "zero_point": np.int8([1, -100, 127]), "axis": 1,
     "output_dtype": "int8"},
    {"scale": np.float32([0.01, 0.5, 0.02, 1]), "axis": -1, "output_dtype": "int8"},
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(QUANTIZED)))
def test_activations_are_quantized_and_back(number: int, tmp_path: Path) -> None:
    arguments = {k: np.int32(v) if k == "axis" else v for k, v in QUANTIZED[number].items()}
    back = {k: v for k, v in arguments.items() if k != "output_dtype"}
    x = np.concatenate([floats(2, 2, 4), np.float32([[[-9, 9, 0.025, 0.075]]] * 2)], axis=1)

    def quantized(x: Any) -> Any:
        return mb.quantize(input=x, **arguments)

    (stored,) = fold(quantized, [x], 17)
    path = save_program(tmp_path, lambda v: mb.dequantize(input=quantized(v), **back), [x], 17)
    opened = CoreMLProgram(path)
    assert set(opened.op_types) == {"quantize", "dequantize"}
    (found,) = opened.run({"in0": x}).values()
    along = (1, -1, 1) if arguments.get("axis") == 1 else (-1,)
    scale, zero = (np.float64(arguments.get(k, 0)).reshape(along) for k in ("scale", "zero_point"))
    np.testing.assert_allclose(found.numpy(), scale * (stored - zero), rtol=1e-6)
    limits = np.iinfo(arguments["output_dtype"])
    ours = np.clip(np.round(x / scale) + zero, limits.min, limits.max)
    np.testing.assert_allclose(found.numpy(), scale * (ours - zero), rtol=1e-6)
