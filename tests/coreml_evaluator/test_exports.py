"""Forms that exports take beyond the plain bundles: later systems, flexible decoders, compression.

Each is converted from the tiny model as an export does it, and compared with PyTorch, or with the
same package after coremltools has decompressed its weights.
"""

import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from converters.modules import build_module, example_inputs
from coreml_evaluator import CoreMLProgram
from mobilesam.bundle.contract import Component, Contract
from tests.coreml_evaluator.mil_programs import ct
from tests.tiny_bundles import tiny_model

SLOTS = {"range": (1, 5, 16), "enumerated": (2, 8)}
"""Points that a decoder is given, by how its shape was declared."""


def inputs_of(component: Component, slots: int = 8) -> dict[str, Tensor]:
    return example_inputs(replace(Contract.of(tiny_model()), slots=slots), component)


def shape_of(name: str, tensor: Tensor, kind: str) -> Any:
    """Of one input; a decoder's points are the second side of two of them."""
    shape = tuple(tensor.shape)
    if kind == "fixed" or not name.startswith("point_"):
        return shape
    if kind == "range":
        return ct.Shape((1, ct.RangeDim(1, 16, default=8), *shape[2:]))
    listed = [(1, slots, *shape[2:]) for slots in SLOTS["enumerated"]]
    return ct.EnumeratedShapes(listed, default=shape)


def converted(component: Component, ios: int, kind: str, half: bool) -> Any:
    gc.freeze()  # ct.convert collects garbage each time
    contract = Contract.of(tiny_model())
    inputs = inputs_of(component)
    return ct.convert(
        torch.jit.trace(build_module(tiny_model(), component, contract), tuple(inputs.values())),
        inputs=[ct.TensorType(name=n, shape=shape_of(n, x, kind)) for n, x in inputs.items()],
        outputs=[ct.TensorType(name=s.name) for s in contract.signature(component).outputs],
        minimum_deployment_target=getattr(ct.target, f"iOS{ios}"),
        compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
        skip_model_load=True,
    )


def reference(component: Component, inputs: dict[str, Tensor]) -> list[Tensor]:
    with torch.inference_mode():
        module = build_module(tiny_model(), component, Contract.of(tiny_model()))
        outputs = module(*inputs.values())
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


def relative_l2(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.slow
@pytest.mark.parametrize(("ios", "kind", "half"), [(17, "range", True), (18, "enumerated", False)])
def test_flexible_decoder_agrees_with_pytorch(
    tmp_path: Path, ios: int, kind: str, half: bool
) -> None:
    converted("decoder", ios, kind, half).save(str(tmp_path / "decoder.mlpackage"))
    opened = CoreMLProgram(tmp_path / "decoder.mlpackage")
    assert opened.spec_version == ios - 9
    assert opened.precision == ("fp16" if half else "fp32")
    for slots in SLOTS[kind]:
        inputs = inputs_of("decoder", slots)
        expected = reference("decoder", inputs)
        for found, wanted in zip(opened.run(inputs).values(), expected, strict=True):
            assert relative_l2(found, wanted) <= (1e-2 if half else 2e-5)


def _quantized(model: Any, joint: bool = False, **options: Any) -> Any:
    import coremltools.optimize.coreml as cto

    config = cto.OpLinearQuantizerConfig(weight_threshold=64, **options)
    return cto.linear_quantize_weights(
        model, cto.OptimizationConfig(global_config=config), joint_compression=joint
    )


def _palettized(model: Any, joint: bool = False, **options: Any) -> Any:
    import coremltools.optimize.coreml as cto

    config = cto.OpPalettizerConfig(weight_threshold=64, mode="uniform", **options)
    return cto.palettize_weights(
        model, cto.OptimizationConfig(global_config=config), joint_compression=joint
    )


def _pruned(model: Any) -> Any:
    import coremltools.optimize.coreml as cto

    config = cto.OpMagnitudePrunerConfig(weight_threshold=64, target_sparsity=0.5)
    return cto.prune_weights(model, cto.OptimizationConfig(global_config=config))


BLOCKS: dict[str, Any] = {"dtype": "int4", "granularity": "per_block", "block_size": 4}
GROUPS: dict[str, Any] = {"nbits": 4, "granularity": "per_grouped_channel", "group_size": 4}
PER_TENSOR = {"granularity": "per_tensor"}

COMPRESSED: list[tuple[set[str], Callable[[Any], Any]]] = [
    ({"blockwise_shift_scale"}, lambda m: _quantized(m, **BLOCKS)),
    (
        {"lut_to_dense", "blockwise_shift_scale"},
        lambda m: _palettized(m, enable_per_channel_scale=True, **GROUPS),
    ),
    (
        {"sparse_blockwise_shift_scale", "sparse_to_dense"},
        lambda m: _quantized(_pruned(m), joint=True),
    ),
    (
        {"lut_to_sparse", "blockwise_shift_scale", "sparse_to_dense"},
        lambda m: _quantized(
            _palettized(_pruned(m), joint=True, nbits=4), joint=True, **PER_TENSOR
        ),
    ),
]
"""Ops that hold the weights, and what compresses them so."""


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny encoder in float16 for iOS 18."""
    path = tmp_path_factory.mktemp("encoder") / "encoder.mlpackage"
    converted("encoder", 18, "fixed", True).save(str(path))
    return path


def test_encoder_agrees_with_pytorch(encoder: Path) -> None:
    opened, inputs = CoreMLProgram(encoder), inputs_of("encoder")
    assert (opened.spec_version, opened.precision) == (9, "fp16")
    (found,), (wanted,) = opened.run(inputs).values(), reference("encoder", inputs)
    assert 1e-4 < relative_l2(found, wanted) <= 1e-2


@pytest.mark.parametrize("number", range(len(COMPRESSED)))
def test_compressed_encoder_is_what_coremltools_decompresses(
    number: int, encoder: Path, tmp_path: Path
) -> None:
    from coremltools.optimize.coreml import decompress_weights

    ops, compress = COMPRESSED[number]
    model = compress(ct.models.MLModel(str(encoder), skip_model_load=True))
    model.save(str(tmp_path / "small.mlpackage"))
    decompress_weights(model).save(str(tmp_path / "plain.mlpackage"))
    small, plain = (CoreMLProgram(tmp_path / f"{name}.mlpackage") for name in ("small", "plain"))
    assert {f"constexpr_{op}" for op in ops} == {
        op for op in small.op_types if op.startswith("constexpr_")
    }
    assert not any(op.startswith("constexpr_") for op in plain.op_types)
    inputs = inputs_of("encoder")
    (found,), (wanted,) = small.run(inputs).values(), plain.run(inputs).values()
    assert relative_l2(found, wanted) <= 2e-3
    (exact,) = reference("encoder", inputs)
    assert relative_l2(found, exact) > 1e-2  # it was compressed
