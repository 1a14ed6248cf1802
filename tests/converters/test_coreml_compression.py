"""Compressed Core ML programs: each constant as its scheme says, and within the scheme's error."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from converters.coreml.compression import (
    BLOCK,
    COMPRESSIONS,
    CONVOLUTIONS,
    GROUP,
    SENSITIVE,
    compress,
)
from converters.coreml.options import CoreMLOptions, minimum_ios
from converters.lookup import schemes_of
from converters.modules import build_module, example_inputs
from converters.schemes import SMALL, TARGETS
from coreml_evaluator import CoreMLProgram
from mobilesam.bundle.contract import COMPONENTS
from mobilesam.errors import InputError
from mobilesam.model.sam import MobileSAM
from mobilesam.runtimes.bundle import Bundle
from tests.coreml_evaluator.mil_programs import ct, mb, save_program, types
from tests.specs import make_job

GetBundle = Callable[[str, str], Bundle]

RANDOM = np.random.default_rng(0)

HALF_STEP = 2.0**-11
"""Relative: what rounding once to float16 may add."""

LIMITS = {"w8": 0.03, "p8": 0.03, "w8a8": 0.4, "p6": 0.1, "w4": 0.4, "p4": 0.4}
"""Relative L2 of the tiny model's outputs; random weights compress worse than trained ones, and the
decoder's random embedding lies outside the ranges of activations that ``w8a8`` calibrated."""


class Constant(NamedTuple):
    """A compressed constant of a saved program, and the float16 one it was made of.

    Attributes:
        reader: type of the op that reads it.
        operation: coremltools' op that decompresses it.
        value: as coremltools decompresses it, float64.
        original: float64.
    """

    reader: str
    operation: Any
    value: np.ndarray
    original: np.ndarray


def operations(package: Path) -> list[Any]:
    from coremltools.converters.mil.frontend.milproto.load import load

    model = ct.models.MLModel(str(package), skip_model_load=True)
    spec = model.get_spec()
    program = load(spec, spec.specificationVersion, model.weights_dir)
    return list(program.functions["main"].operations)


def compressed(package: Path, original: Path) -> Iterator[Constant]:
    """Every compressed constant; no two constants of a program have the same name."""
    before = {op.name: op.outputs[0].val for op in operations(original) if op.op_type == "const"}
    for op in operations(package):
        if op.op_type.startswith("constexpr_"):
            name = op.name.removesuffix("_quantized").removesuffix("_palettized")
            (reader,) = {child.op_type for child in op.outputs[0].child_ops}
            value = np.asarray(op.materialized_val_inference(), np.float64)
            yield Constant(reader, op, value, np.asarray(before[name], np.float64))


def of_scheme(get: GetBundle, scheme: str) -> list[Constant]:
    """The compressed constants of both components."""
    bundle, original = get("coreml", scheme), get("coreml", "fp16")
    found = [
        constant
        for component in COMPONENTS
        for constant in compressed(
            bundle.file(component, "coreml"), original.file(component, "coreml")
        )
    ]
    assert len(found) >= 9
    return found


def keeps_8_bits(constant: Constant) -> bool:
    """In a scheme of fewer bits."""
    kept = (*CONVOLUTIONS, "select")
    return constant.reader in kept or SENSITIVE in constant.operation.name


def test_every_scheme_but_the_float_ones_compresses() -> None:
    assert set(schemes_of("coreml")) == {"fp32", "fp16", *COMPRESSIONS}


@pytest.mark.parametrize("scheme", COMPRESSIONS)
def test_a_compressed_bundle_is_smaller_and_computes_nearly_the_same(
    scheme: str, tiny_bundle: GetBundle, tiny_model: MobileSAM
) -> None:
    bundle, original = tiny_bundle("coreml", scheme), tiny_bundle("coreml", "fp16")
    contract = bundle.manifest.contract
    for component in COMPONENTS:
        inputs = example_inputs(contract, component)
        with torch.inference_mode():
            wanted = build_module(tiny_model, component, contract)(**inputs)
        found = CoreMLProgram(bundle.file(component, "coreml")).run(inputs)
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        for value, spec in zip(wanted, contract.signature(component).outputs, strict=True):
            error = float((found[spec.name] - value).norm() / value.norm())
            # What is this close was never compressed.
            assert 1e-3 < error <= LIMITS[scheme], f"{component} {spec.name}: {error}"
    assert bundle.size_bytes("coreml") < original.size_bytes("coreml")


@pytest.mark.parametrize("scheme", COMPRESSIONS)
def test_every_large_constant_is_compressed_and_no_small_one(
    scheme: str, tiny_bundle: GetBundle
) -> None:
    assert all(c.original.size > SMALL for c in of_scheme(tiny_bundle, scheme))
    for component in COMPONENTS:
        for op in operations(tiny_bundle("coreml", scheme).file(component, "coreml")):
            value = np.asarray(op.outputs[0].val if op.op_type == "const" else 0)
            readers = {child.op_type for child in op.outputs[0].child_ops}
            if value.ndim > 1 and not any(r.startswith("constexpr_") for r in readers):
                blocks = scheme != "w4" or value.shape[1] % BLOCK == 0 or readers == {"add"}
                assert value.size <= SMALL or not blocks, op.name


@pytest.mark.parametrize("scheme", ["w8", "w8a8"])
def test_int8_weights_are_within_half_a_step_of_their_channel(
    scheme: str, tiny_bundle: GetBundle
) -> None:
    for constant in of_scheme(tiny_bundle, scheme):
        op = constant.operation
        assert op.op_type == "constexpr_affine_dequantize"
        assert op.quantized_data.val.dtype == np.int8 and not np.any(op.zero_point.val)
        axis = 1 if constant.reader == "conv_transpose" else 0
        others = tuple(i for i in range(constant.original.ndim) if i != axis)
        peak = np.abs(constant.original).max(axis=others, keepdims=True)
        _assert_within_half_a_step(constant, peak, 127)


def test_int4_weights_are_within_half_a_step_of_their_block(tiny_bundle: GetBundle) -> None:
    found = of_scheme(tiny_bundle, "w4")
    for constant in found:
        op, original = constant.operation, constant.original
        assert op.op_type == "constexpr_blockwise_shift_scale" and op.offset is None
        if keeps_8_bits(constant) or constant.reader == "add":
            assert _bits(constant) == 8
            continue
        assert _bits(constant) == 4
        out, into = (1, 0) if constant.reader == "conv_transpose" else (0, 1)
        assert op.scale.shape[out] == original.shape[out]
        assert op.scale.shape[into] == original.shape[into] // BLOCK
        split = np.moveaxis(original, (out, into), (0, 1))
        split = split.reshape(split.shape[0], -1, BLOCK, *split.shape[2:])
        peak = np.abs(split).max(axis=tuple(range(2, split.ndim)), keepdims=True)
        peak = np.broadcast_to(peak, split.shape).reshape(
            np.moveaxis(original, (out, into), (0, 1)).shape
        )
        _assert_within_half_a_step(constant, np.moveaxis(peak, (0, 1), (out, into)), 7)
    assert {constant.reader for constant in found} >= {"linear", "conv", "add"}


def _assert_within_half_a_step(constant: Constant, peak: np.ndarray, steps: int) -> None:
    """The scale and the product of scale and integer are each rounded to float16."""
    error = np.abs(constant.value - constant.original)
    bound = peak / steps / 2 + peak * 2 * HALF_STEP
    assert (error <= bound).all(), constant.operation.name
    assert (error > 0).any()


@pytest.mark.parametrize(("scheme", "bits"), [("p8", 8), ("p6", 6), ("p4", 4)])
def test_palettes_have_no_more_values_than_bits_allow(
    scheme: str, bits: int, tiny_bundle: GetBundle
) -> None:
    for constant in of_scheme(tiny_bundle, scheme):
        op = constant.operation
        assert op.op_type == "constexpr_lut_to_dense"
        values = len(np.unique(constant.value))
        if constant.reader == "select":  # a table of few values is kept exactly
            assert np.array_equal(constant.value, constant.original)
            continue
        own = 8 if keeps_8_bits(constant) else bits
        assert op.lut.val.size == 1 << own
        assert values <= 1 << own
        spread = np.linalg.norm(constant.original - constant.original.mean())
        error = np.linalg.norm(constant.value - constant.original)
        assert error < 2.0 ** (2 - own) * spread


@pytest.mark.slow
def test_p4_of_ios_18_has_a_palette_for_each_group_of_channels(
    tiny_model: MobileSAM, tmp_path: Path
) -> None:
    from converters.coreml import convert as coreml

    job = make_job(tiny_model, "decoder", tmp_path, scheme="p4", options=CoreMLOptions(ios=18))
    coreml.convert(job)
    base = tmp_path / "decoder-fp16-ios18.mlpackage"
    found = compressed(job.path(".mlpackage"), base)
    grouped = [c for c in found if c.reader == "linear" and not keeps_8_bits(c)]
    assert grouped
    for constant in grouped:
        assert constant.operation.lut.shape[0] == constant.original.shape[0] // GROUP
        for channels in constant.value.reshape(-1, GROUP, constant.value.shape[1]):
            assert len(np.unique(channels)) <= 16
    assert any(len(np.unique(c.value)) > 16 for c in grouped)


def test_only_inputs_of_products_with_weights_are_quantized(tiny_bundle: GetBundle) -> None:
    from converters.coreml.passes import FLOAT_LAYERS, QUANTIZED

    for component in COMPONENTS:
        found = operations(tiny_bundle("coreml", "w8a8").file(component, "coreml"))
        rounded = [op for op in found if op.op_type == "dequantize"]
        assert len({op.inputs["input"].op.inputs["input"].name for op in rounded}) == len(rounded)
        for op in found:
            reads = op.inputs.get("x")
            if op.name == "prompt_encoder_pe_layer__matmul":
                assert reads.op.op_type != "dequantize"  # coordinates
            elif op.op_type in QUANTIZED and not op.name.startswith(FLOAT_LAYERS):
                assert reads.op is not None and reads.op.op_type == "dequantize", op.name
            elif op.op_type != "quantize":
                inputs = [v for v in op.inputs.values() if not isinstance(v, list | tuple)]
                assert not any(v.op is not None and v.op in rounded for v in inputs), op.name


def test_the_manifest_says_what_was_calibrated_on(tiny_bundle: GetBundle) -> None:
    for scheme in schemes_of("coreml"):
        record = tiny_bundle("coreml", scheme).manifest.calibration
        assert (record is not None) == (scheme in TARGETS["coreml"].calibrated)
    record = tiny_bundle("coreml", "w8a8").manifest.calibration
    assert record is not None
    assert record["photos"] == "4"
    assert record["encoder_samples"] == "14"  # and two strips of each, black and white
    # Every kind of prompt among them, not only the eight that users ask most.
    assert int(record["decoder_samples"]) == 83
    assert len(record["photos_sha256"]) == 64


@pytest.mark.parametrize(("scheme", "ios"), [("w4", 16), ("w4", 17), ("w8a8", 16)])
def test_a_scheme_that_came_later_is_refused_before_any_work(
    scheme: str, ios: int, tiny_model: MobileSAM, tmp_path: Path
) -> None:
    from converters.coreml import convert as coreml

    job = make_job(tiny_model, "encoder", tmp_path, scheme=scheme, options=CoreMLOptions(ios=ios))
    with pytest.raises(InputError, match=rf"{scheme} needs iOS {minimum_ios(scheme)}, not iOS"):
        coreml.convert(job)
    assert not any(tmp_path.iterdir())


def test_each_scheme_exists_from_its_lowest_system_on() -> None:
    assert [minimum_ios(scheme) for scheme in ("fp32", "fp16", "w8", "w8a8", "w4")] == [
        16,
        16,
        16,
        17,
        18,
    ]
    for scheme in schemes_of("coreml"):
        for ios in range(minimum_ios(scheme), 19):
            assert CoreMLOptions(ios=ios).deployment_target(scheme) == ios


def test_a_float_program_is_returned_as_it_is(tiny_model: MobileSAM, tmp_path: Path) -> None:
    x = np.ones((1, 4), np.float32)
    model = ct.models.MLModel(
        str(save_program(tmp_path, lambda a: mb.relu(x=a), [x])), skip_model_load=True
    )
    job = make_job(tiny_model, "encoder", tmp_path, scheme="fp16")
    assert compress(model, job) is model


def test_what_is_sensitive_keeps_8_bits(tiny_model: MobileSAM, tmp_path: Path) -> None:
    def weight(name: str, *shape: int) -> Any:
        return mb.const(val=RANDOM.normal(size=shape).astype(np.float32), name=name)

    def build(x: Any, image: Any) -> Any:
        fine = mb.linear(x=x, weight=weight("layers_0_mlp_lin1_weight", 64, 64))
        kept = mb.linear(
            x=fine, weight=weight("layers_0_cross_attn_image_to_token_q_proj_weight", 64, 64)
        )
        return kept, mb.conv(x=image, weight=weight("neck_weight", 64, 64, 1, 1))

    arrays = [np.ones((1, 64), np.float32), np.ones((1, 64, 2, 2), np.float32)]
    package = save_program(tmp_path, build, arrays, ios=18)
    for scheme in ("p4", "p6", "w4"):
        model = ct.models.MLModel(str(package), skip_model_load=True)
        job = make_job(
            tiny_model, "decoder", tmp_path, scheme=scheme, options=CoreMLOptions(ios=18)
        )
        saved = tmp_path / f"{scheme}.mlpackage"
        compress(model, job).save(str(saved))
        bits = {c.operation.name.split("_weight")[0]: _bits(c) for c in compressed(saved, package)}
        few = int(scheme[1])
        assert bits == {
            "layers_0_mlp_lin1": few,
            "layers_0_cross_attn_image_to_token_q_proj": 8,
            "neck": 8,
        }


def _bits(constant: Constant) -> int:
    op = constant.operation
    if op.op_type == "constexpr_lut_to_dense":
        return int(op.lut.shape[-2]).bit_length() - 1
    return {"int4": 4, "int8": 8}[types.builtin_to_string(op.data.dtype)]
