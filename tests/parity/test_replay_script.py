"""run.py of a replay folder: where it runs, what it calls, and what it says when it cannot."""

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mobilesam.bundle.compute_units import COMPUTE_UNITS
from mobilesam.bundle.manifest import MANIFEST_NAME
from mobilesam.errors import BundleError
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.table import RUNNERS
from parity import judging
from parity.replay import merge as merging
from parity.replay import run
from parity.replay.merge import merge
from parity.replay.pack import pack
from parity.replay.schema import Result, result_files
from tests.parity.fakes import write_photos
from tests.parity.replay_folders import (
    RUNTIME_ALONE,
    as_coreml,
    loadable,
    mac_environment,
    minimal_python,
    record_again,
    run_script,
)

FORBIDDEN = ("torch", "PIL", "pydantic", "mobilesam", "parity", "scipy", "typer")


@pytest.fixture(scope="module")
def onnx(tiny_bundle: Callable[..., Bundle]) -> Bundle:
    return tiny_bundle("onnx")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with numpy and ONNX Runtime alone."""
    return minimal_python(tmp_path_factory.mktemp("minimal") / "venv")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory, onnx: Bundle) -> Iterator[Path]:
    """A pack of the ONNX bundle and of one that passes for Core ML's, not run yet."""
    folder = tmp_path_factory.mktemp("script")
    photos = write_photos(folder / "photos")
    with pytest.MonkeyPatch.context() as patch:
        loadable(patch, onnx)
        coreml = as_coreml(onnx, folder / "coreml")
        pack([onnx.path, coreml.path], folder / "pack", images=photos, progress=False)
        yield folder / "pack"


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    """A copy of the pack."""
    return shutil.copytree(pristine, tmp_path / "pack")


@pytest.fixture
def mac(onnx: Bundle, tmp_path: Path) -> dict[str, str]:
    """An environment that passes for a Mac's; coremltools is a fake, see ``fake_mac``."""
    sysctl = tmp_path / "bin" / "sysctl"
    sysctl.parent.mkdir()
    sysctl.write_text('#!/bin/sh\necho "Apple M0 (fake)"\n')
    sysctl.chmod(0o755)
    path = f"{sysctl.parent}:{os.environ['PATH']}"
    return mac_environment(onnx, tmp_path / "calls") | {"PATH": path}


@pytest.fixture
def calls(tmp_path: Path) -> Callable[[], list[dict]]:
    """What the fake coremltools was asked, in order."""
    return lambda: [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]


def test_the_interpreter_of_these_tests_has_the_runtime_alone(python: Path) -> None:
    code = (
        "import importlib.util, numpy, onnxruntime\n"
        f"print([name for name in {FORBIDDEN} if importlib.util.find_spec(name)])"
    )
    bare = {"PATH": os.environ["PATH"]}
    command = [str(python), "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=bare, cwd=python.parent)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_script_is_python_3_9_and_imports_what_it_says() -> None:
    tree = ast.parse(Path(run.__file__).read_text("utf-8"), feature_version=(3, 9))
    imported = {
        alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {
        (node.module or "").partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
    }
    others = imported - set(sys.stdlib_module_names)
    litert = {"ai_edge_litert", "tflite_runtime"}
    assert others == {
        "numpy",
        "coremltools",
        "onnxruntime",
        *litert,
        "torch",
        "PIL",
    }  # and executorch, by name


def test_what_the_script_repeats_is_what_the_package_has() -> None:
    assert set(run.COMPUTE_UNITS) == set(COMPUTE_UNITS)
    assert set(run.RUNTIMES) < set(RUNNERS)


def test_it_runs_what_it_can_and_says_what_it_skips(python: Path, folder: Path) -> None:
    done = run_script(python, folder, "--threads", "1")
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert first == (
        "skipped coreml-fp32: Core ML predicts on macOS only: copy this folder to a Mac and run "
        "it there"
    )
    assert len(rest) == 2 and all("median" in line for line in rest)
    (path,) = result_files(folder)
    result = Result.model_validate_json(path.read_text())
    assert result.error == "" and result.threads == 1
    assert sorted(result.files) == [
        f"{c}-{i}.npz" for c in ("decoder", "encoder") for i in range(4)
    ]


def test_core_ml_off_a_mac_is_one_sentence(python: Path, folder: Path) -> None:
    done = run_script(python, folder, "--bundle", "coreml-fp32", "--compute-units", "cpu_and_ne")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == (
        "error: coreml-fp32: Core ML predicts on macOS only: copy this folder to a Mac and run it "
        "there\n"
    )
    assert not (folder / "results").exists()


def test_a_runtime_that_is_not_installed_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    numpy_alone = minimal_python(tmp_path / "venv", ("numpy",))
    done = run_script(numpy_alone, folder, "--bundle", "onnx-fp32")
    assert (done.returncode, done.stderr) == (
        2,
        "error: onnx-fp32: onnxruntime is not installed here: pip install onnxruntime\n",
    )
    done = run_script(numpy_alone, folder)
    assert done.returncode == 2 and "macOS only" in done.stderr


def test_wrong_arguments_are_named(python: Path, folder: Path) -> None:
    done = run_script(python, folder, "--bundle", "tflite-fp32")
    assert done.returncode == 2
    assert done.stderr == (
        "error: this folder has no bundle 'tflite-fp32', only onnx-fp32, coreml-fp32\n"
    )
    assert run_script(python, folder, "--compute-units", "npu").returncode == 2
    (folder / "prompts" / "0-0" / "1.npz").unlink()
    done = run_script(python, folder)
    assert done.stderr == "error: 'prompts/0-0/1.npz' is missing: copy the folder again\n"
    (folder / run.INDEX).write_text("{}")
    assert "no readable replay.json" in run_script(python, folder).stderr


def test_a_file_that_does_not_load_is_a_sentence_in_the_result(python: Path, folder: Path) -> None:
    bundle = "bundles/onnx-fp32/decoder.onnx"
    (folder / bundle).write_bytes(b"not a model")
    record_again(folder, run.INDEX, bundle)
    done = run_script(python, folder, "--bundle", "onnx-fp32")
    assert done.returncode == 1 and done.stderr == ""
    (path,) = result_files(folder)
    result = Result.model_validate_json(path.read_text())
    assert result.error.startswith("the decoder failed: ") and "\n" not in result.error
    assert [taken.component for taken in result.measurements] == ["encoder"]


def test_what_is_called_on_a_mac(
    mac: dict[str, str], python: Path, folder: Path, calls: Callable[[], list[dict]]
) -> None:
    units = ("--compute-units", "CPU_ONLY", "cpu_and_ne")
    done = run_script(python, folder, "--bundle", "coreml-fp32", *units, **mac)
    assert done.returncode == 0, done.stderr
    assert [call for call in calls() if "load" in call] == [
        {"load": f"{component}.mlpackage", "units": units, "function": None}
        for units in ("CPU_ONLY", "CPU_AND_NE")
        for component in ("encoder", "decoder")
    ]
    float32 = ["ndarray", "float32"]
    predictions = [call["predict"] for call in calls() if "predict" in call]
    assert [given for given in predictions if "image" in given][-1] == {
        "image": [*float32, [1, 3, 128, 128]],
        "valid_size": [*float32, [2]],
    }
    assert predictions[-1] == {
        "image_embeddings": [*float32, [1, 32, 8, 8]],
        "point_coords": [*float32, [1, 8, 2]],
        "point_labels": [*float32, [1, 8]],
        "mask_input": [*float32, [1, 1, 32, 32]],
        "has_mask_input": [*float32, [1]],
    }
    assert len({json.dumps(given) for given in predictions}) == 2
    with pytest.MonkeyPatch.context() as patch:  # the stand-ins for packages hold no program
        patch.setattr(judging, "description_differences", lambda *_: [])
        patch.setattr(merging, "carry_audits", lambda *_: None)
        rows = merge([folder], progress=False).bundles
    assert [row.runtime for row in rows] == ["coreml CPU_AND_NE", "coreml CPU_ONLY"]
    for row in rows:
        assert row.verdict == "PASS", row.reasons
        assert row.engine.startswith("Core ML (coremltools 9.0, CPU_")
        assert row.engine.endswith(", Apple M0 (fake)")
        assert all(taken.representative for taken in row.measurements)


def test_a_function_of_a_package_and_an_image_are_passed_on(
    mac: dict[str, str],
    python: Path,
    folder: Path,
    calls: Callable[[], list[dict]],
    tmp_path: Path,
) -> None:
    name = f"bundles/coreml-fp32/{MANIFEST_NAME}"
    manifest = json.loads((folder / name).read_text())
    for record in manifest["files"]:
        record |= {"path": "encoder.mlpackage", "function": record["component"]}
    (folder / name).write_text(json.dumps(manifest))
    record_again(folder, run.INDEX, name)
    mac |= {"FAKE_IMAGES": "image"}

    done = run_script(python, folder, "--bundle", "coreml-fp32", **mac)
    assert done.returncode == 1
    assert "this package takes an image: pip install pillow" in done.stdout

    with_pillow = minimal_python(tmp_path / "venv", (*RUNTIME_ALONE, "PIL", "pillow"))
    done = run_script(with_pillow, folder, "--bundle", "coreml-fp32", **mac)
    assert done.returncode == 0, (done.stdout, done.stderr)
    loads = [(call["units"], call["function"]) for call in calls() if "load" in call]
    assert loads[-2:] == [("ALL", "encoder"), ("ALL", "decoder")]
    given = [call["predict"] for call in calls() if "image" in call.get("predict", {})]
    assert given and all(each["image"] == ["image", "RGB", [128, 128]] for each in given)
    files = Result.model_validate_json(result_files(folder)[0].read_text()).files
    assert len(files) == 8  # of each component, for two photos and two strips of them


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_leaves_no_result(
    mac: dict[str, str], python: Path, folder: Path, how: signal.Signals
) -> None:
    command = [str(python), str(folder / "run.py"), "--bundle", "coreml-fp32"]
    slow = mac | {"FAKE_DELAY": "0.4"}
    partial = folder / "results" / ".coreml-fp32.coreml.ALL.partial"
    with subprocess.Popen(
        command,
        env=slow,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # What is started in a shell's background ignores Ctrl-C, and so would this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as started:
        while not list(partial.glob("encoder-0.npz")):
            assert started.poll() is None
            time.sleep(0.05)
        if how == signal.SIGTERM:
            started.terminate()  # to the script alone: its child goes with it
        else:
            os.killpg(started.pid, how)
        started.communicate()
    assert started.returncode == {"SIGTERM": 143, "SIGINT": 130}.get(how.name, -how)
    assert result_files(folder) == []
    if how != signal.SIGKILL:
        assert list((folder / "results").iterdir()) == []
        with pytest.raises(ProcessLookupError):
            os.killpg(started.pid, 0)
    with pytest.raises(BundleError, match="has no results"):
        merge([folder], progress=False)
    if how == signal.SIGKILL:
        assert run_script(python, folder, "--bundle", "coreml-fp32", **mac).returncode == 0
        assert not partial.exists() and len(result_files(folder)) == 1


def test_a_rerun_replaces_its_result(python: Path, folder: Path) -> None:
    for threads in ("1", "2"):
        done = run_script(python, folder, "--bundle", "onnx-fp32", "--threads", threads)
        assert done.returncode == 0, done.stderr
    (path,) = result_files(folder)
    assert Result.model_validate_json(path.read_text()).threads == 2
    assert [each.name for each in (folder / "results").iterdir()] == [path.parent.name]
