"""The Core ML package inside an ExecuTorch program: what is judged is what is in the file."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("coremltools")
pytest.importorskip("executorch.runtime")

from converters.modules import example_inputs
from mobilesam.errors import BundleError
from mobilesam.runtimes import executorch_coreml, open_runner
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.executorch_coreml import read_delegate
from parity.description import description_differences
from parity.weight_audit.audit import audit
from parity.weight_audit.run import read_file
from tests.parity import description_edits as edits
from tests.tiny_bundles import EXECUTORCH_COREML, tiny_bundle, tiny_model

RUNTIME = "executorch_coreml"
LINEAR = "mask_decoder.transformer.layers.1.mlp.lin2.weight"


def said(bundle: Bundle) -> str:
    return "\n".join(description_differences(bundle, RUNTIME))


def edited(folder: Path, change: Callable[[bytes], bytes]) -> Bundle:
    """A copy of the float32 bundle with another decoder, of which its manifest knows."""

    def write(path: Path) -> None:
        content = path.read_bytes()
        made = change(content)
        assert made != content
        path.write_bytes(made)

    return edits.edited(tiny_bundle(EXECUTORCH_COREML), folder, "decoder", write)


def answers(bundle: Bundle, **changes: np.ndarray) -> dict[str, np.ndarray]:
    examples = example_inputs(bundle.manifest.contract, "decoder")
    inputs = {name: value.numpy() for name, value in examples.items()} | changes
    with open_runner(bundle, RUNTIME, threads=1, components=("decoder",)) as runner:
        return runner.run("decoder", inputs)


@pytest.mark.parametrize("scheme", ["fp32", "fp16"])
def test_a_right_file_says_what_it_is_and_has_every_weight(scheme: str) -> None:
    bundle = tiny_bundle(EXECUTORCH_COREML, scheme)
    assert bundle.runtimes == (RUNTIME,)
    assert bundle.manifest.options["backend"] == "coreml"
    assert "coremltools" in bundle.manifest.tools
    assert said(bundle) == ""
    for component in ("encoder", "decoder"):
        found = audit(tiny_model(), component, read_file(bundle, RUNTIME, component))
        assert found.found == found.total and not found.missing and not found.wrong


def test_float16_files_compute_in_float16_and_coordinates_in_float32() -> None:
    bundle = tiny_bundle(EXECUTORCH_COREML, "fp16")
    with open_runner(bundle, RUNTIME, components=("decoder",)) as runner:
        assert "float16" in runner.engine
    points = example_inputs(bundle.manifest.contract, "decoder")["point_coords"].numpy().copy()
    points[0, 0] = 100
    moved = points.copy()
    moved[0, 0] += 0.02  # less than float16 tells apart there
    assert (moved.astype(np.float16) == points.astype(np.float16)).all()
    one, other = (answers(bundle, point_coords=each)["low_res_masks"] for each in (points, moved))
    assert not np.array_equal(one, other)


def test_a_weight_changed_in_the_package_is_found_and_changes_the_answer(tmp_path: Path) -> None:
    values = tiny_model().state_dict()[LINEAR].numpy()

    def halve_a_row(content: bytes) -> bytes:
        stored = next(each for each in (values, values.T.copy()) if each.tobytes() in content)
        made = stored.copy()
        made[0] /= 2
        return content.replace(stored.tobytes(), made.tobytes())

    bundle = edited(tmp_path, halve_a_row)
    found = audit(tiny_model(), "decoder", read_file(bundle, RUNTIME, "decoder"))
    assert LINEAR in " ".join(each.sentence for each in found.wrong) + " ".join(found.missing)
    right = answers(tiny_bundle(EXECUTORCH_COREML))["low_res_masks"]
    assert not np.allclose(answers(bundle)["low_res_masks"], right, rtol=1e-3)


def test_tensors_that_the_delegate_confuses_are_named(tmp_path: Path) -> None:
    names = b'"point_labels", "point_coords"'
    bundle = edited(
        tmp_path, lambda content: content.replace(names, b'"point_coords", "point_labels"')
    )
    with pytest.raises(BundleError, match=r"is not what its manifest says: 'point_"):
        answers(bundle)
    assert "input 'point_coords' is described as float32" in said(bundle)


def test_a_program_for_another_backend_is_refused(tmp_path: Path) -> None:
    other = tiny_bundle("executorch").file("decoder", "executorch").read_bytes()
    bundle = edited(tmp_path, lambda _: other)
    with pytest.raises(BundleError, match="runs whole .it has .* Xnnpack"):
        answers(bundle)
    assert "holds no program that Core ML runs whole" in said(bundle)


def test_a_damaged_package_is_named_with_the_file_it_is_in(tmp_path: Path) -> None:
    bundle = edited(tmp_path, lambda content: content.replace(b"linear", b"lineal"))
    with pytest.raises(BundleError) as caught:
        answers(bundle)
    assert str(bundle.file("decoder", RUNTIME)) in str(caught.value)
    assert "/mobilesam-" not in str(caught.value)  # the folder it was unpacked into


def _flattened(name: str, size: int = 3) -> bytes:
    nodes = [
        {"name": name, "kind": 0, "dataRegion": {"offset": 0, "size": size}, "children": {}},
        {"name": "root", "kind": 1, "children": {name: 0}},
    ]
    return b"abc" + json.dumps({"nodes": nodes}).encode()[::-1]


def test_files_of_the_package_lie_inside_it() -> None:
    assert executorch_coreml._files(_flattened("weight.bin")) == {"weight.bin": b"abc"}
    for name in ("../weight.bin", "/weight.bin", ""):
        with pytest.raises(ValueError, match="a path in its package"):
            executorch_coreml._files(_flattened(name))
    with pytest.raises(ValueError, match="cut off"):
        executorch_coreml._files(_flattened("weight.bin", 300))


def test_names_are_those_of_the_methods_places() -> None:
    bundle = tiny_bundle(EXECUTORCH_COREML)
    delegate = read_delegate(bundle.file("decoder", RUNTIME))
    specs = bundle.manifest.signatures["decoder"].inputs
    assert [kind.shape for _, kind in delegate.inputs] == [spec.shape for spec in specs]
    assert {kind.dtype for _, kind in delegate.inputs} == {"float32"}
    assert delegate.outputs[1][1].shape == (1, 4)
