"""Core AI: what its optimizer gets wrong, and what of it is kept from happening."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from converters.base import capture
from converters.coreai.convert import array_type
from converters.coreai.products import turned
from converters.modules import build_module, example_inputs
from mobilesam.bundle.contract import Contract
from mobilesam.bundle.tensors import Signature
from mobilesam.model.build import load_model


class Product(nn.Module):
    """A product with a matrix whose columns are those of several rows put one behind another."""

    def forward(self, weights: Tensor, pixels: Tensor) -> Tensor:
        return weights @ pixels.flatten(2)


INPUTS = torch.rand(1, 4, 16), torch.rand(1, 16, 16, 16)
NOTHING = Signature("main", (), ())


def converted(program: torch.export.ExportedProgram, path: Path) -> str:
    """The program as Core AI's tools optimize it, and save it."""
    pytest.importorskip("coreai.authoring", reason="Core AI is not installed")
    from coreai_torch import TorchConverter, get_decomp_table

    converter = TorchConverter(mode=TorchConverter.Mode.RELEASE)
    made = converter.add_exported_program(program.run_decompositions(get_decomp_table()))
    return str(made.to_coreai().save_asset(path).program._module)


def test_the_optimizer_still_needs_to_be_kept_from_products(tmp_path: Path) -> None:
    """Where this fails, a newer version has mended it, and converters/coreai/products.py may go."""
    program = torch.export.export(Product(), INPUTS)
    assert "tensor<1x16x4x16xf32>" in converted(program, tmp_path / "wrong.aimodel")
    right = converted(turned(program, INPUTS, NOTHING), tmp_path / "right.aimodel")
    assert "tensor<1x16x4x16xf32>" not in right


def test_a_turned_product_is_the_same() -> None:
    program = torch.export.export(Product(), INPUTS)
    changed = turned(program, INPUTS, NOTHING)
    assert changed is not program
    found, wanted = changed.module()(*INPUTS), program.module()(*INPUTS)
    assert found.shape == wanted.shape
    assert torch.allclose(found, wanted, rtol=1e-5)


def test_a_program_without_such_a_product_is_left_alone() -> None:
    inputs = torch.rand(1, 4, 16), torch.rand(1, 16, 8)
    program = torch.export.export(_Plain(), inputs)
    assert turned(program, inputs, NOTHING) is program


class _Plain(nn.Module):
    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        return one @ other


def test_the_decoder_has_one_such_product() -> None:
    """At 128 px there are as many channels as rows: without it every mask was wrong."""
    model = load_model("demo", image_size=128)
    contract = Contract.of(model)
    module = build_module(model, "decoder", contract)
    inputs = tuple(example_inputs(contract, "decoder").values())
    signature = contract.signature("decoder")
    program = capture(module, inputs, signature)
    changed = turned(program, inputs, signature)
    assert changed is not program
    with torch.no_grad():
        for found, wanted in zip(changed.module()(*inputs), module(*inputs), strict=True):
            assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("NDArray (Float32, 1 × 4 × 32 × 32)", ((1, 4, 32, 32), "float32")),
        ("NDArray (Float16, 1)", ((1,), "float16")),
        ("NDArray (Int32)", ((), "int32")),
        ("PixelBuffer (RGB)", (None, "PixelBuffer (RGB)")),
    ],
)
def test_types_are_read_from_a_summary(words: str, found: object) -> None:
    assert array_type(words) == found
