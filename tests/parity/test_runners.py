"""Every runner on a small exported bundle: the right answers, or clear words."""

import shutil
import subprocess
import sys
import types
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch

from converters.modules import build_module, example_inputs
from mobilesam.bundle.contract import COMPONENTS, Component
from mobilesam.errors import BundleError, InputError, MissingDependencyError
from mobilesam.runtimes import open_runner, runner_class
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.table import RUNNERS, files_of, photos_asked
from tests.conftest import is_here, require_runtime
from tests.rounding import Rounding, amplification
from tests.tiny_bundles import EXECUTORCH_COREML, tiny_model

TARGET_OF = {
    "torchscript": "torchscript",
    "lite_interpreter": "torchscript",
    "coreml": "coreml",
    "litert": "tflite",
    "onnxruntime": "onnx",
    "executorch": "executorch",
    "executorch_coreml": EXECUTORCH_COREML,
    "coreai": "coreai",
    "qnn_htp": "onnx",
    "litert_gpu": "tflite",
    "litert_gpu_fp32": "tflite",
    "litert_web": "tflite",
    "onnxruntime_web": "onnx",
}
WORD = {
    "torchscript": "TorchScript",
    "lite_interpreter": "lite interpreter",
    "coreml": "Core ML",
    "litert": "LiteRT",
    "onnxruntime": "ONNX Runtime",
    "executorch": "ExecuTorch",
    "executorch_coreml": "package inside the ExecuTorch program",
    "coreai": "Core AI",
    "qnn_htp": "QNN",
    "litert_gpu": "GPU, float16",
    "litert_gpu_fp32": "GPU, float32",
    "litert_web": "LiteRT.js",
    "onnxruntime_web": "ONNX Runtime Web",
}
HALF = {"qnn_htp": 0.05, "litert_gpu": 0.02}
"""Relative L2 by which runtimes may differ that compute float32 files in float16.

What follows from the arithmetic says nothing for a random model; measured 0.0099 (qnn_htp) and
0.0044 (litert_gpu)."""
PROGRAM_OF = {".mlpackage": "Data/com.apple.CoreML/model.mlmodel", ".aimodel": "main.mlirb"}
"""The file that holds the program, in formats that are a folder."""
each_runtime = pytest.mark.parametrize("runtime", RUNNERS)


@pytest.fixture(autouse=True)
def _present(request: pytest.FixtureRequest) -> None:
    """Skip the tests of a runtime that is not here."""
    if "runtime" in request.fixturenames:
        require_runtime(request.getfixturevalue("runtime"))


Arrays = dict[str, np.ndarray]
GetBundle = Callable[..., Bundle]


def inputs_of(bundle: Bundle, component: Component) -> Arrays:
    examples = example_inputs(bundle.manifest.contract, component)
    return {name: value.numpy() for name, value in examples.items()}


def expected_of(
    bundle: Bundle, component: Component, inputs: Arrays
) -> tuple[list[np.ndarray], float]:
    """PyTorch's answers, and by how much another runtime's may differ (relative L2)."""
    module = build_module(tiny_model(), component, bundle.manifest.contract)
    tensors = [torch.from_numpy(value) for value in inputs.values()]
    with torch.no_grad(), Rounding() as rounding:
        outputs = module(*tensors)
    parts = outputs if isinstance(outputs, tuple) else (outputs,)
    limit = rounding.tolerance * amplification(module, tensors)
    return [part.numpy() for part in parts], limit


def copy_of(bundle: Bundle, folder: Path) -> Bundle:
    return Bundle(shutil.copytree(bundle.path, folder / "copy"))


def test_every_runner_is_tested() -> None:
    assert set(TARGET_OF) == set(WORD) == set(RUNNERS)


@each_runtime
def test_answers_are_pytorchs(tiny_bundle: GetBundle, runtime: str) -> None:
    bundle = tiny_bundle(TARGET_OF[runtime])
    with open_runner(bundle, runtime, threads=1) as runner:
        assert WORD[runtime] in runner.engine
        for component in COMPONENTS:
            inputs = inputs_of(bundle, component)
            found = runner.run(component, inputs)
            specs = bundle.manifest.signatures[component].outputs
            assert list(found) == [spec.name for spec in specs]
            expected, limit = expected_of(bundle, component, inputs)
            limit = HALF.get(runtime, limit)
            for spec, reference in zip(specs, expected, strict=True):
                value = found[spec.name]
                assert value.dtype == np.float32 and value.shape == spec.shape
                assert np.linalg.norm(value - reference) <= limit * np.linalg.norm(reference)


@each_runtime
def test_one_answer_does_not_linger_in_the_next(tiny_bundle: GetBundle, runtime: str) -> None:
    bundle = tiny_bundle(TARGET_OF[runtime])
    inputs = inputs_of(bundle, "decoder")
    other = inputs | {"point_coords": inputs["point_coords"][:, ::-1] * 0.5}
    with open_runner(bundle, runtime, components=("decoder",)) as runner:
        first = runner.run("decoder", inputs)
        kept = {name: value.copy() for name, value in first.items()}
        second = runner.run("decoder", other)
        third = runner.run("decoder", inputs)
    for name, value in kept.items():
        assert np.array_equal(first[name], value)  # not overwritten by a later run
        assert np.array_equal(third[name], value)
        assert not np.array_equal(second[name], value)


@each_runtime
def test_wrong_inputs_are_named(tiny_bundle: GetBundle, runtime: str) -> None:
    bundle = tiny_bundle(TARGET_OF[runtime])
    inputs = inputs_of(bundle, "decoder")
    with open_runner(bundle, runtime, components=("decoder",)) as runner:
        with pytest.raises(InputError, match="'point_labels' is missing"):
            runner.run("decoder", {k: v for k, v in inputs.items() if k != "point_labels"})
        with pytest.raises(InputError, match="'image' is not one of"):
            runner.run("decoder", inputs | {"image": inputs["mask_input"]})
        with pytest.raises(InputError, match=r"'has_mask_input' has shape \[1, 1\], not \[1\]"):
            runner.run("decoder", inputs | {"has_mask_input": np.zeros((1, 1), np.float32)})
        with pytest.raises(InputError, match="encoder was not loaded"):
            runner.run("encoder", inputs)


@each_runtime
@pytest.mark.parametrize("damage", ["cut", "text", "empty", "missing"])
def test_damaged_file_gives_one_sentence(
    tiny_bundle: GetBundle, runtime: str, damage: str, tmp_path: Path
) -> None:
    bundle = copy_of(tiny_bundle(TARGET_OF[runtime]), tmp_path)
    path = bundle.file("decoder", files_of(runtime))
    damaged = path / PROGRAM_OF[path.suffix] if path.is_dir() else path
    content = damaged.read_bytes()
    damaged.unlink()
    if damage != "missing":
        damaged.write_bytes(
            {"cut": content[: len(content) // 2], "text": b"Not Found\n" * 100, "empty": b""}[
                damage
            ]
        )
    with (
        pytest.raises(BundleError) as caught,
        open_runner(bundle, runtime, components=("decoder",)),
    ):
        pass
    message = str(caught.value)
    assert str(path) in message
    assert "export the bundle again" in message
    assert "\n" not in message


@each_runtime
def test_file_of_the_other_component_is_noticed(
    tiny_bundle: GetBundle, runtime: str, tmp_path: Path
) -> None:
    bundle = copy_of(tiny_bundle(TARGET_OF[runtime]), tmp_path)
    encoder, decoder = (bundle.file(component, files_of(runtime)) for component in COMPONENTS)
    if decoder.is_dir():
        shutil.rmtree(decoder)
        shutil.copytree(encoder, decoder)
    else:
        shutil.copy(encoder, decoder)
    with pytest.raises(BundleError, match="decoder"):
        with open_runner(bundle, runtime, components=("decoder",)) as runner:
            runner.run("decoder", inputs_of(bundle, "decoder"))


@each_runtime
def test_outputs_other_than_the_manifests_are_noticed(
    tiny_bundle: GetBundle, runtime: str, tmp_path: Path
) -> None:
    bundle = copy_of(tiny_bundle(TARGET_OF[runtime]), tmp_path)
    manifest = bundle.path / "manifest.json"
    text = bundle.manifest.model_dump_json()
    low = bundle.manifest.contract.low_res_size
    changed = text.replace(
        f'"name":"low_res_masks","shape":[1,4,{low},{low}]',
        f'"name":"low_res_masks","shape":[1,3,{low},{low}]',
    )
    assert changed != text
    manifest.write_text(changed)
    stale = Bundle(bundle.path)
    with pytest.raises(BundleError, match=r"'low_res_masks' has shape \[1, 4, .*not \[1, 3, "):
        with open_runner(stale, runtime, components=("decoder",)) as runner:
            runner.run("decoder", inputs_of(stale, "decoder"))


def test_delegate_partitions_are_counted_where_there_are_delegates(tiny_bundle: GetBundle) -> None:
    with open_runner(tiny_bundle("tflite"), "litert") as runner:
        for component in COMPONENTS:
            partitions = runner.delegate_partitions(component)
            assert partitions is not None and 1 <= partitions <= 4
    with open_runner(tiny_bundle("torchscript"), "torchscript") as runner:
        assert runner.delegate_partitions("encoder") is None


def test_unknown_runtime_and_a_bundle_without_files_for_it(tiny_bundle: GetBundle) -> None:
    bundle = tiny_bundle("torchscript")
    with pytest.raises(InputError, match="unknown runtime 'tensorrt', known: torchscript"):
        open_runner(bundle, "tensorrt")
    with pytest.raises(BundleError, match="no files for 'litert', only for torchscript"):
        open_runner(bundle, "litert")


@pytest.mark.parametrize(
    ("runtime", "library", "extra"),
    [
        ("coreml", "coremltools", "coreml"),
        ("litert", "ai_edge_litert.interpreter", "tflite"),
        ("onnxruntime", "onnxruntime", "onnx"),
        ("executorch", "executorch.runtime", "executorch"),
        ("executorch_coreml", "executorch.exir._serialize._program", "executorch,coreml"),
        ("coreai", "coreai.authoring", "coreai"),
        ("qnn_htp", "onnxruntime_qnn", "qualcomm"),
    ],
)
def test_missing_library_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, runtime: str, library: str, extra: str
) -> None:
    monkeypatch.delitem(sys.modules, f"mobilesam.runtimes.{runtime}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingDependencyError, match=rf"mobilesam-export\[{extra}\]"):
        runner_class(runtime)
    monkeypatch.delitem(sys.modules, f"mobilesam.runtimes.{runtime}", raising=False)


def test_compute_units_are_checked(tiny_bundle: GetBundle) -> None:
    bundle = tiny_bundle("coreml")
    with pytest.raises(InputError, match="unknown compute units 'GPU', known: ALL, CPU_AND_NE"):
        open_runner(bundle, "coreml", compute_units="GPU")


@pytest.mark.skipif(sys.platform == "darwin", reason="a Mac has Core ML itself")
def test_report_can_tell_the_evaluator_from_core_ml(tiny_bundle: GetBundle) -> None:
    with open_runner(tiny_bundle("coreml"), "coreml", components=("decoder",)) as runner:
        assert runner.engine == "Core ML evaluator in PyTorch (float32), not a Mac"
    with open_runner(tiny_bundle("coreml", "fp16"), "coreml", components=("decoder",)) as runner:
        assert "float16, rounded after every op" in runner.engine


def test_on_a_mac_core_ml_itself_is_asked(
    tiny_bundle: GetBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tiny_bundle("coreml")
    asked: list[object] = []

    class Model:
        def __init__(self, path: str, compute_units: object, function_name: str | None) -> None:
            asked.append((Path(path).name, compute_units, function_name))

        def predict(self, inputs: Arrays) -> Arrays:
            asked.append(sorted(inputs))
            specs = bundle.manifest.signatures["decoder"].outputs
            return {spec.name: np.full(spec.shape, 3, np.float32) for spec in specs}

    runner_class("coreml")
    from mobilesam.runtimes import coreml

    units = types.SimpleNamespace(CPU_AND_NE="neural engine")
    fake = types.SimpleNamespace(ComputeUnit=units, models=types.SimpleNamespace(MLModel=Model))
    monkeypatch.setattr(coreml, "ct", fake)
    monkeypatch.setattr(coreml.sys, "platform", "darwin")
    with open_runner(
        bundle, "coreml", components=("decoder",), compute_units="CPU_AND_NE"
    ) as runner:
        assert runner.engine == "Core ML (MLModel, CPU_AND_NE)"
        inputs = inputs_of(bundle, "decoder")
        found = runner.run("decoder", inputs)
    assert asked == [("decoder.mlpackage", "neural engine", None), sorted(inputs)]
    assert found["iou_predictions"].tolist() == [[3.0] * 4]
    assert found["iou_predictions"].dtype == np.float32


def test_threads_of_pytorch_are_put_back(tiny_bundle: GetBundle) -> None:
    bundle, before = tiny_bundle("torchscript"), torch.get_num_threads()
    with open_runner(bundle, "torchscript", threads=before + 3, components=("decoder",)) as runner:
        runner.run("decoder", inputs_of(bundle, "decoder"))
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("library", ["torch", "coremltools", "onnxruntime"])
def test_opening_litert_loads_nothing_else(tiny_bundle: GetBundle, library: str) -> None:
    """The memory and load time reported of a runtime are its own."""
    code = (
        "import sys; from mobilesam.runtimes.bundle import Bundle\n"
        "from mobilesam.runtimes import open_runner\n"
        f"with open_runner(Bundle({str(tiny_bundle('tflite').path)!r}), 'litert'): pass\n"
        f"print({library!r} in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_all_runtimes_share_one_process(tiny_bundle: GetBundle) -> None:
    bundles = {
        runtime: tiny_bundle(target) for runtime, target in TARGET_OF.items() if is_here(runtime)
    }
    inputs = inputs_of(bundles["torchscript"], "decoder")
    (expected, _), limit = expected_of(bundles["torchscript"], "decoder", inputs)
    with ExitStack() as stack:
        runners = [
            stack.enter_context(open_runner(bundle, runtime, threads=1, components=("decoder",)))
            for runtime, bundle in bundles.items()
        ]
        for runner in (*runners, *reversed(runners)):
            found = runner.run("decoder", inputs)["low_res_masks"]
            own = HALF.get(runner.name, limit)
            assert np.linalg.norm(found - expected) <= own * np.linalg.norm(expected)


def test_only_slow_schemes_of_a_slow_runtime_are_asked_few_photos() -> None:
    assert photos_asked("litert", "fp16") is None
    assert photos_asked("qnn_htp", "fp32") == 1
    assert photos_asked("coreai", "fp16") == 1
    assert photos_asked("coreai", "fp32") is None  # one photo's prompts do not show every fault
