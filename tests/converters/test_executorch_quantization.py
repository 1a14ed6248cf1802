"""ExecuTorch's int8 schemes: what is rounded and what is not, and the files that come of it."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node

from converters.calibration import Calibration
from converters.schemes import SMALL, TARGETS
from mobilesam.bundle.contract import COMPONENTS, Component, Contract
from mobilesam.errors import ExportError
from mobilesam.model.sam import MobileSAM
from mobilesam.runtimes.bundle import Bundle
from tests.specs import make_job
from tests.tiny_bundles import tiny_model

pytest.importorskip("executorch.exir")

from converters.executorch import quantization  # isort: skip - needs executorch

GetBundle = Callable[[str, str], Bundle]
Programs = dict[tuple[str, Component], ExportedProgram]

GEMMS = quantization.QUANTIZED["w8a8"]
"""Ops that multiply by weights; matmul multiplies two activations."""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """Each component in each scheme, quantized and not yet lowered."""
    pytest.importorskip("skimage")
    model, folder = tiny_model(), tmp_path_factory.mktemp("jobs")
    calibration = Calibration(model, Contract.of(model), None)
    return {
        (scheme, component): quantization.quantize(
            make_job(model, component, folder, "executorch", scheme, calibration=calibration)
        )
        for scheme in quantization.SCHEMES
        for component in COMPONENTS
    }


def operation(node: Any) -> str:
    """``linear`` of ``aten.linear.default``; empty for what is no op."""
    name = str(node.target) if isinstance(node, Node) and node.op == "call_function" else ""
    return name.partition(".")[2].partition(".")[0]


def test_the_schemes_are_the_tables() -> None:
    assert set(TARGETS["executorch"].schemes) == {"fp32", *quantization.SCHEMES}


def test_products_with_weights_are_int8_where_the_scheme_says_so(programs: Programs) -> None:
    for (scheme, component), program in programs.items():
        found = Counter[bool]()
        for node in program.graph.nodes:
            if node.target not in GEMMS:
                continue
            wanted = node.target in quantization.QUANTIZED[scheme]
            found[wanted] += 1
            where = f"{scheme}, {component}, {node.name}"
            assert (operation(node.args[1]) == "dequantize_per_channel") == wanted, where
            assert (operation(node.args[0]) == "dequantize_per_tensor") == wanted, where
        assert found[True] >= 12 and (found[False] > 0) == (scheme == "w8d")


def test_coordinates_stay_float(programs: Programs) -> None:
    for scheme in quantization.SCHEMES:
        nodes = programs[scheme, "decoder"].graph.nodes
        phases = [node for node in nodes if operation(node) in ("sin", "cos")]
        assert len(phases) == 2
        for node in phases:
            before = [node]
            for earlier in before:  # grows: all that a phase is computed from
                before += [n for n in earlier.all_input_nodes if n not in before]
            assert "point_coords" in {n.name for n in before}
            assert not [n for n in before if "quantize" in operation(n)]


def test_no_large_constant_stays_float(programs: Programs) -> None:
    for (scheme, component), program in programs.items():
        stored = {**program.state_dict, **program.constants}
        read = {
            spec.target: stored[spec.target]
            for spec in program.graph_signature.input_specs
            if spec.target in stored
            and any(node.name == spec.arg.name and node.users for node in program.graph.nodes)
        }
        kinds = Counter(t.dtype for t in read.values() if t.numel() > SMALL)
        assert kinds.pop(torch.int8) >= 3, (scheme, component)
        assert not kinds or scheme == "w8d" and component == "encoder", (scheme, component)


def test_a_table_is_rounded_to_half_a_step_of_its_channel() -> None:
    class Adds(nn.Module):
        table: Tensor
        zeros: Tensor

        def __init__(self) -> None:
            super().__init__()
            spread = torch.linspace(0.1, 3, 50).reshape(1, 50, 1, 1)
            self.register_buffer("table", torch.randn(1, 50, 8, 8) * spread)
            self.register_buffer("zeros", torch.zeros(50, 64))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.table + self.zeros.sum()

    module, x = Adds(), torch.zeros(1, 50, 8, 8)
    shrunk = torch.export.export(module, (x,)).module(check_guards=False)
    quantization._shrink_tables(shrunk)
    error = (shrunk(x) - module.table).abs()
    step = (module.table.abs().amax((2, 3), keepdim=True) / 127).clamp(min=2.0**-12)
    assert 0 < error.max() and (error <= step / 2 * 1.001).all()
    stored = torch.export.export(shrunk, (x,)).state_dict
    assert Counter(t.dtype for t in stored.values() if t.numel() > 64) == {torch.int8: 2}


def test_files_are_smaller_and_say_what_they_were_calibrated_on(tiny_bundle: GetBundle) -> None:
    def size(scheme: str) -> int:
        return sum(r.size_bytes for r in tiny_bundle("executorch", scheme).manifest.files)

    # In so small a model the graph, and what each delegate says of itself, weighs much.
    assert size("w8a8") < 0.9 * size("fp32")
    record = tiny_bundle("executorch", "w8a8").manifest.calibration
    assert record and record["method"] == "min-max"


def test_without_photos_there_is_nothing_to_quantize_with(
    tiny_model: MobileSAM, tmp_path: Path
) -> None:
    job = make_job(tiny_model, "encoder", tmp_path, "executorch", "w8a8")
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
