"""The channel norm of float16 programs: the same numbers, without the overflow."""

from pathlib import Path

import pytest
import torch

from converters.coreml.safe_norm import ScaledLayerNorm2d, scale_norms
from converters.modules import build_module
from mobilesam.bundle.contract import Contract
from mobilesam.model.layers import LayerNorm2d
from mobilesam.model.sam import MobileSAM
from tests.specs import make_job
from tests.tiny_bundles import make_tiny_model


def live_norm(channels: int) -> LayerNorm2d:
    norm = LayerNorm2d(channels)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
    return norm


@pytest.mark.parametrize("size", [1e-6, 1e-3, 1.0, 300.0, 3e4])
def test_equal_to_the_norm_at_every_scale(size: float) -> None:
    torch.manual_seed(0)
    norm = live_norm(16)
    x = torch.randn(2, 16, 5, 7) * size
    with torch.no_grad():
        torch.testing.assert_close(ScaledLayerNorm2d(norm)(x), norm(x), rtol=2e-5, atol=2e-5)


def test_equal_where_a_pixel_is_constant() -> None:
    norm = live_norm(8)
    x = torch.full((1, 8, 2, 2), 5.0)
    with torch.no_grad():
        assert torch.equal(ScaledLayerNorm2d(norm)(x), norm(x))


def test_float16_stays_finite_where_the_plain_norm_overflows() -> None:
    torch.manual_seed(0)
    norm = live_norm(16)
    x = torch.randn(1, 16, 8, 8) * 1000
    with torch.no_grad():
        wanted = norm(x)
        plain = norm.half()(x.half()).float()
        safe = ScaledLayerNorm2d(norm)(x.half()).float()
    assert (plain - wanted).norm() > 0.5 * wanted.norm()
    assert (safe - wanted).norm() < 2e-3 * wanted.norm()


def loud_model() -> MobileSAM:
    """The tiny model with activations in its neck that float16 cannot square."""
    model = make_tiny_model()
    with torch.no_grad():
        model.image_encoder.get_parameter("neck.0.weight").mul_(1000)
    return model


def test_every_norm_is_replaced() -> None:
    model = loud_model()
    for component in ("encoder", "decoder"):
        module = scale_norms(build_module(model, component, Contract.of(model)))
        kinds = {type(child) for child in module.modules()}
        assert ScaledLayerNorm2d in kinds
        assert LayerNorm2d not in kinds


@pytest.mark.slow
def test_a_float16_package_survives_loud_activations(tmp_path: Path) -> None:
    pytest.importorskip("coremltools")
    from converters.coreml import convert as coreml
    from coreml_evaluator import CoreMLProgram

    model = loud_model()
    job = make_job(model, "encoder", tmp_path, scheme="fp16")
    with torch.no_grad():
        wanted = build_module(model, "encoder", job.spec.contract)(*job.inputs)
    coreml.convert(job)
    (found,) = CoreMLProgram(job.path(".mlpackage")).run(job.example).values()
    assert float((found - wanted).norm() / wanted.norm()) < 5e-3
