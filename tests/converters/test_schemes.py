"""The table: what exists, what is refused and with which words."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from converters import lookup
from converters.base import converter_of
from converters.lookup import combinations, markdown_table, require, resolve, schemes_of
from converters.onnx.options import ONNXOptions
from converters.schemes import TARGETS
from converters.spec import TargetOptions
from mobilesam.errors import InputError, MissingDependencyError
from mobilesam.model.sam import MobileSAM
from tests.specs import make_spec


def test_every_target_is_one_row_and_one_module(tiny_model: MobileSAM) -> None:
    for target in TARGETS:
        module = converter_of(target)
        for name in ("settings", "convert", "read_io"):
            assert callable(getattr(module, name))
        assert issubclass(module.Options, TargetOptions)
        made = module.settings(make_spec(tiny_model, target))
        assert all(isinstance(value, str) for value in made.values())


def test_all_six_formats_have_fp32() -> None:
    assert set(TARGETS) == {"torchscript", "coreml", "tflite", "onnx", "executorch", "coreai"}
    assert all("fp32" in schemes_of(target) for target in TARGETS)


def test_extras_are_the_projects_own(repository: Path) -> None:
    import tomllib

    project = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))["project"]
    for target, row in TARGETS.items():
        declared = project["optional-dependencies"].get(row.extra, project["dependencies"])
        joined = " ".join(declared)
        direct = [package for package in row.packages if package in joined]
        assert direct, f"{target}: none of {row.packages} is declared in extra '{row.extra}'"


def test_no_cell_of_the_table_nests_parentheses() -> None:
    for cell in markdown_table().replace("\n", "|").split("|"):
        assert not re.search(r"\([^)]*\(", cell), cell


def test_all_is_the_whole_table_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "find_spec", lambda name: name)  # all is installed
    assert resolve() == list(combinations())
    assert resolve(["all"], ["all"]) == list(combinations())


def test_all_leaves_out_a_target_in_beta_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lookup, "find_spec", lambda name: None)
    stable = [pair for pair in combinations() if not TARGETS[pair[0]].beta]
    assert resolve() == stable != list(combinations())
    assert ("coreai", "fp32") in resolve(["coreai"])  # asked for by name: refused with its extra
    with pytest.raises(MissingDependencyError, match=r"needs coreai-torch.*export\[coreai"):
        require("coreai")


def test_all_targets_in_one_scheme_takes_those_that_have_it() -> None:
    chosen = resolve(["all"], ["fp16"])
    assert chosen
    assert chosen == [pair for pair in resolve() if pair[1] == "fp16"]


def test_a_combination_asked_for_twice_comes_once() -> None:
    assert resolve(["onnx", "onnx"], ["fp32", "fp32"]) == [("onnx", "fp32")]
    assert resolve(["onnx", "coreml"], ["fp32"]) == [("coreml", "fp32"), ("onnx", "fp32")]


@pytest.mark.parametrize(
    ("targets", "wanted", "words"),
    [
        (["corml"], None, "unknown target 'corml'.*did you mean 'coreml'"),
        (["CoreML"], None, "did you mean 'coreml'"),
        (["zzz"], None, "unknown target 'zzz', known: torchscript, coreml, tflite, onnx"),
        (["onnx"], ["fp61"], "unknown scheme 'fp61'.*did you mean 'fp16'"),
        (["all"], ["int3"], "unknown scheme 'int3', known: fp32, "),
        (["torchscript"], ["fp16"], "torchscript has no scheme 'fp16'.*tflite: fp32, fp16"),
        (["torchscript", "onnx"], ["fp16"], "torchscript has no scheme 'fp16'"),
        ([], None, "no target"),
        (["onnx"], [], "no target or scheme"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(
    targets: list[str], wanted: list[str] | None, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        resolve(targets, wanted)


def test_every_cell_of_the_matrix_is_offered_or_refused() -> None:
    pruned = {"s30", "s50"}  # a way of Core ML's alone
    every = {scheme for row in TARGETS.values() for scheme in (*row.schemes, *row.refused)} - pruned
    assert len(every) == 10
    for target, row in TARGETS.items():
        assert every <= {*row.schemes, *row.refused}, target


def test_a_scheme_that_was_tried_is_refused_with_the_reason() -> None:
    for target, row in TARGETS.items():
        for scheme, reason in row.refused.items():
            assert scheme not in row.schemes
            with pytest.raises(InputError) as caught:
                resolve([target], [scheme])
            assert reason in str(caught.value)


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        lookup, "find_spec", lambda name: None if name == "coremltools" else find_spec(name)
    )
    with pytest.raises(MissingDependencyError, match=r"needs coremltools.*export\[coreml"):
        require("coreml")
    require("torchscript")


def test_the_table_names_every_combination_and_file() -> None:
    lines = markdown_table().splitlines()
    assert len(lines) == 2 + len(combinations())
    for (target, scheme), line in zip(combinations(), lines[2:], strict=True):
        assert line.startswith(f"| `{target}` | `{scheme}` |")
        for artefact in TARGETS[target].artefacts:
            assert f"`{artefact.suffix}`" in line
            assert artefact.runtime in line


@pytest.mark.parametrize("opset", [0, 17, 22])
def test_an_opset_that_onnx_files_cannot_have_is_refused(opset: int) -> None:
    with pytest.raises(InputError, match=f"opset must be 18 to 21, not {opset}"):
        ONNXOptions(opset=opset).check([], "pixels")
