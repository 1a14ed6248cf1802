"""ExecuTorch's int8 schemes: what is rounded and what is not, and the files that come of it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node

from converters.base import Conversion
from converters.bundle import Bundle
from converters.calibration import Calibration
from converters.contract import COMPONENTS, Component, Contract
from converters.layer_names import module_path
from converters.schemes import TARGETS
from mobilesam.errors import ExportError
from mobilesam.sam import MobileSAM
from tests.converters.test_targets import make_job
from tests.tiny_bundles import tiny_model

pytest.importorskip("executorch.exir")

from converters import executorch_quantization as quantization  # isort: skip - needs executorch

GetBundle = Callable[[str, str], Bundle]
Programs = dict[tuple[str, Component], ExportedProgram]

GEMMS = ("linear", "conv2d", "conv_transpose2d")
"""Ops that multiply by weights; matmul multiplies two activations."""


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> dict[Component, Conversion]:
    """The tiny model's, with the built-in photos to calibrate on."""
    pytest.importorskip("skimage")
    model, folder = tiny_model(), tmp_path_factory.mktemp("jobs")
    contract = Contract.of(model)
    calibration = Calibration(model, contract, None)
    return {
        component: make_job(model, contract, component, folder=folder, calibration=calibration)
        for component in COMPONENTS
    }


@pytest.fixture(scope="module")
def programs(jobs: dict[Component, Conversion]) -> Programs:
    """Each component in each scheme, quantized and not yet lowered."""
    return {
        (scheme, component): quantization.quantize(replace(job, scheme=scheme))
        for scheme in quantization.SCHEMES
        for component, job in jobs.items()
    }


def kind(node: Any) -> str:
    """``linear`` of ``aten.linear.default``; empty for what is no op."""
    return str(node.target).split(".")[1] if isinstance(node, Node) and node.args else ""


def test_the_schemes_are_the_tables() -> None:
    assert set(TARGETS["executorch"].schemes) == {"fp32", *quantization.SCHEMES}


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("scheme", quantization.SCHEMES)
def test_every_product_with_weights_is_int8(
    scheme: str, component: Component, programs: Programs
) -> None:
    float_layers = quantization.FLOAT_LAYERS[scheme]
    for node in programs[scheme, component].graph.nodes:
        if kind(node) not in GEMMS:
            continue
        depthwise = kind(node) == "conv2d" and len(node.args) > 6 and node.args[6] > 1
        stays = module_path(node).startswith(float_layers) or scheme == "w8d" and depthwise
        weight = kind(node.args[1])
        assert weight == ("" if stays else "dequantize_per_channel"), node.name
        whole = "dequantize_per_tensor"
        assert (kind(node.args[0]) == whole) or stays, node.name


@pytest.mark.parametrize("scheme", quantization.SCHEMES)
def test_nothing_else_is_rounded(scheme: str, programs: Programs) -> None:
    for component in COMPONENTS:
        for node in programs[scheme, component].graph.nodes:
            if kind(node).startswith("quantize_per_tensor"):
                readers = {kind(reader) for whole in node.users for reader in whole.users}
                # Rounded before an op with weights, or after it and then carried on as it is.
                assert readers & {*GEMMS} or follows_a_gemm(node), node.name


def follows_a_gemm(node: Node) -> bool:
    """Whether a rounded value is an op's output, or that reshaped."""
    source = node.args[0]
    assert isinstance(source, Node)
    while kind(source) in (*CARRIED, "relu"):
        source = source.args[0]
        assert isinstance(source, Node)
    return kind(source) in GEMMS


CARRIED = (
    "dequantize_per_tensor",
    "quantize_per_tensor",
    "view",
    "reshape",
    "transpose",
    "permute",
    "slice",
    "flatten",
)


@pytest.mark.parametrize("scheme", quantization.SCHEMES)
def test_coordinates_stay_float(scheme: str, programs: Programs) -> None:
    program = programs[scheme, "decoder"]
    (coordinates,) = (n for n in program.graph.nodes if n.name == "point_coords")
    reached = [coordinates]
    for node in reached:  # grows: up to the first products with weights
        if kind(node) not in GEMMS and not kind(node).startswith("choose_qparams"):
            reached += [user for user in node.users if user not in reached]
    phases = [node for node in reached if kind(node) in ("sin", "cos")]
    assert len(phases) == 2
    for node in phases:
        before = [node]
        for earlier in before:
            before += earlier.all_input_nodes
        assert not [n for n in before if "quantize" in kind(n)]
        (joined,) = node.users
        assert kind(joined) == "cat" and all("quantize" not in kind(u) for u in joined.users)


@pytest.mark.parametrize("scheme", quantization.SCHEMES)
def test_no_large_constant_stays_float(scheme: str, programs: Programs) -> None:
    for component in COMPONENTS:
        program = programs[scheme, component]
        large = {
            name: tensor
            for name, tensor in {**program.state_dict, **program.constants}.items()
            if isinstance(tensor, Tensor) and tensor.numel() > quantization.SMALL
        }
        kinds = Counter(tensor.dtype for tensor in large.values())
        assert kinds[torch.int8] > 5
        if not quantization.FLOAT_LAYERS[scheme] and scheme == "w8a8":
            assert set(kinds) == {torch.int8}


def test_a_table_is_rounded_to_half_a_step_of_its_channel() -> None:
    class Adds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            spread = torch.linspace(0.01, 3, 50).reshape(1, 50, 1, 1)
            self.register_buffer("table", torch.randn(1, 50, 8, 8) * spread)
            self.register_buffer("zeros", torch.zeros(50, 64))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.table + self.zeros.sum()

    module, x = Adds(), torch.zeros(1, 50, 8, 8)
    shrunk = torch.export.export(module, (x,)).module(check_guards=False)
    quantization._shrink_tables(shrunk)
    error = (shrunk(x) - module.table).abs()
    half = module.table.abs().amax((2, 3), keepdim=True) / 127 / 2
    assert 0 < error.max() and (error <= half * 1.001).all()
    stored = torch.export.export(shrunk, (x,)).state_dict
    assert Counter(t.dtype for t in stored.values() if t.numel() > 64) == {torch.int8: 2}


@pytest.mark.parametrize("scheme", quantization.SCHEMES)
def test_files_are_smaller_and_not_the_float_ones(
    scheme: str, tiny_bundle: GetBundle, tiny_model: MobileSAM
) -> None:
    sizes = {
        name: sum(r.size_bytes for r in tiny_bundle("executorch", name).manifest.files)
        for name in ("fp32", scheme)
    }
    # In so small a model the graph, and what each delegate says of itself, weighs much.
    assert sizes[scheme] < 0.8 * sizes["fp32"]


def test_the_manifest_says_what_was_calibrated_on(tiny_bundle: GetBundle) -> None:
    for scheme in quantization.SCHEMES:
        record = tiny_bundle("executorch", scheme).manifest.calibration
        assert (record is not None) == (scheme in TARGETS["executorch"].calibrated)


def test_without_photos_there_is_nothing_to_quantize_with(
    tiny_model: MobileSAM, tmp_path: Path
) -> None:
    contract = Contract.of(tiny_model)
    job = make_job(tiny_model, contract, "encoder", folder=tmp_path, scheme="w8a8")
    with pytest.raises(ExportError, match="'w8a8' needs photos to be calibrated on"):
        quantization.quantize(job)


@pytest.mark.parametrize(
    ("samples", "words"),
    [([], "no sample to calibrate on"), ([torch.inf], "the encoder overflows on a sample")],
)
def test_samples_that_say_nothing_are_refused(samples: list[float], words: str) -> None:
    job: Any = SimpleNamespace(
        component="encoder",
        scheme="w8a8",
        signature=SimpleNamespace(inputs=[SimpleNamespace(name="image")]),
        inputs=(),
        calibration=SimpleNamespace(
            samples=lambda component: ({"image": torch.full((2,), s).numpy()} for s in samples)
        ),
    )
    with pytest.raises(ExportError, match=words):
        quantization._observe(nn.Identity(), job)  # type: ignore[arg-type]
