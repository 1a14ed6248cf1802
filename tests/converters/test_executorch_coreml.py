"""ExecuTorch's other backend: its schemes, and programs that it does not take whole."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from converters import export
from converters.executorch.options import ExecuTorchOptions
from converters.lookup import combinations, meaning_of, require, resolve, row_of
from converters.provenance import export_key, settings
from converters.schemes import EXECUTORCH
from mobilesam.errors import ExportError, InputError
from mobilesam.model.sam import MobileSAM
from tests.specs import make_spec

ON_COREML = {EXECUTORCH: "coreml"}
OPTIONS = ExecuTorchOptions(backend="coreml")


def test_each_backend_has_schemes_of_its_own() -> None:
    assert resolve([EXECUTORCH], None, ON_COREML) == [(EXECUTORCH, "fp32"), (EXECUTORCH, "fp16")]
    assert (EXECUTORCH, "fp16") not in combinations()
    assert "float16" in meaning_of(EXECUTORCH, "fp16", "coreml")
    assert row_of(EXECUTORCH, "xnnpack") is row_of(EXECUTORCH)
    others = [pair for pair in combinations() if pair[0] != EXECUTORCH]
    assert others == [pair for pair in combinations(ON_COREML) if pair[0] != EXECUTORCH]


@pytest.mark.parametrize("scheme", ["w8d", "w8a8", "w8", "w4", "w8a16", "p6"])
def test_a_scheme_of_another_backend_is_refused_before_anything_is_written(
    tiny_model: MobileSAM, scheme: str, tmp_path: Any
) -> None:
    with pytest.raises(InputError, match=f"executorch on coreml has no scheme '{scheme}' .*fp16"):
        export(
            tiny_model,
            targets=EXECUTORCH,
            schemes=scheme,
            out=tmp_path / "out",
            options={EXECUTORCH: OPTIONS},
        )
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match=r"executorch has no scheme 'fp16' \(its XNNPACK"):
        resolve([EXECUTORCH], ["fp16"])


def test_the_manifest_says_which_backend(tiny_model: MobileSAM) -> None:
    usual, other = (
        make_spec(tiny_model, EXECUTORCH, options=options)
        for options in (ExecuTorchOptions(), OPTIONS)
    )
    assert settings(usual) == {"backend": "xnnpack"}
    assert settings(other)["backend"] == "coreml"
    assert export_key(usual) != export_key(other)
    assert [a.runtime for a in usual.row.artefacts] == ["executorch"]
    assert [a.runtime for a in other.row.artefacts] == ["executorch_coreml"]


def test_the_missing_package_of_a_backend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "converters.lookup.find_spec", lambda name: None if name == "coremltools" else name
    )
    require(EXECUTORCH)
    with pytest.raises(Exception, match=r"needs coremltools.*mobilesam-export\[executorch,coreml"):
        require(EXECUTORCH, "coreml")


class _Partly(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.asinh(x.relu() + 1).relu()


class _Whole(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.relu() + 1


@pytest.mark.parametrize("scheme", ["fp32", "fp16"])
def test_a_program_that_is_not_taken_whole_is_refused(scheme: str) -> None:
    pytest.importorskip("coremltools")
    pytest.importorskip("executorch.runtime")
    from executorch.exir import to_edge_transform_and_lower

    from converters.executorch import coreml

    job: Any = SimpleNamespace(
        scheme=scheme, component="encoder", signature=SimpleNamespace(name="encode")
    )

    def lowered(module: nn.Module) -> Any:
        program = torch.export.export(module, (torch.ones(2, 3),))
        return to_edge_transform_and_lower(
            {"encode": program}, partitioner=[coreml.partitioner(job)]
        )

    coreml.require_whole(lowered(_Whole()), job)
    with pytest.raises(ExportError, match="leaves operations of the encoder to the CPU: .*asinh"):
        coreml.require_whole(lowered(_Partly()), job)
