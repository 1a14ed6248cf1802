"""LiteRT's GPU accelerator: what it takes, what is said of what it does not, and what crashes."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mobilesam.bundle.contract import COMPONENTS
from mobilesam.emulators import lavapipe
from mobilesam.errors import BundleError, MissingDependencyError, RefusedError
from mobilesam.runtimes import open_runner
from mobilesam.runtimes.bundle import Bundle
from parity.delegates import litert_gpu as rules
from tests.conftest import require_runtime

runtime = pytest.importorskip("mobilesam.runtimes.litert_gpu")
worker = pytest.importorskip("mobilesam.runtimes.gpu_worker")

GetBundle = Callable[..., Bundle]

TAKEN = ("fp32", "fp16", "w8d", "w8a8")
"""Schemes whose files the accelerator takes whole."""

SAID = """\
I0000 00:00:1795754045.202076   28221 environment.cc:532] Selected adapter: llvmpipe (LLVM 15.0.6, \
256 bits), arch=software, vendor=mesa, backend=Vulkan, adapterType=CPU / Software
ERROR: Following operations are not supported by GPU delegate:
CAST: Expected 1 runtime input tensor(s), but node has 0 runtime input(s).
CONV_2D: Tensor type(INT16) is not supported. /module/mask_downscaling/GELU_2
CONV_2D: Tensor type(INT16) is not supported. /module/mask_downscaling/GELU_5
GATHER: Only support 1D indices
784 operations will run on the GPU, and the remaining 12 operations will run on the CPU.
"""


@pytest.mark.parametrize("scheme", TAKEN)
def test_every_op_is_one_that_the_accelerator_takes(tiny_bundle: GetBundle, scheme: str) -> None:
    bundle = tiny_bundle("tflite", scheme)
    for component in COMPONENTS:
        (record,) = (each for each in bundle.manifest.files if each.component == component)
        found = rules.ask(bundle.file(component, "litert"), record)
        assert found.verdict == "whole", found.outside


@pytest.mark.parametrize("scheme", ["w8", "w4", "w8a16"])
def test_schemes_for_the_cpu_say_so(tiny_bundle: GetBundle, scheme: str) -> None:
    bundle = tiny_bundle("tflite", scheme)
    assert "CPU only: LiteRT's GPU accelerator" in bundle.manifest.scheme.meaning
    for component in COMPONENTS:
        (record,) = (each for each in bundle.manifest.files if each.component == component)
        assert rules.ask(bundle.file(component, "litert"), record).verdict != "whole"


def test_refused_ops_are_named_once_with_the_reason() -> None:
    assert runtime.refused_ops(SAID) == {
        "CAST": "Expected 1 runtime input tensor(s), but node has 0 runtime input(s)",
        "CONV_2D": "Tensor type(INT16) is not supported",
        "GATHER": "Only support 1D indices",
    }
    assert runtime.refused_ops("INFO: all is well\n") == {}


@pytest.mark.parametrize("scheme", ["w8", "w4", "w8a16"])
def test_a_file_that_is_not_taken_whole_is_refused(tiny_bundle: GetBundle, scheme: str) -> None:
    require_runtime("litert_gpu")
    bundle = tiny_bundle("tflite", scheme)
    with pytest.raises(RefusedError) as caught, open_runner(bundle, "litert_gpu", threads=1):
        pass
    assert caught.value.what
    assert "does not run on the GPU as a whole" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_process_that_ends_is_told(tiny_bundle: GetBundle, tmp_path: Path) -> None:
    require_runtime("litert_gpu")
    bundle = Bundle(shutil.copytree(tiny_bundle("tflite").path, tmp_path / "copy"))
    inputs = {
        spec.name: np.zeros(spec.shape, np.float32)
        for spec in bundle.manifest.signatures["decoder"].inputs
    }
    with open_runner(bundle, "litert_gpu", components=("decoder",), threads=1) as runner:
        runner._opened["decoder"]._process.send_signal(signal.SIGKILL)
        with pytest.raises(BundleError, match=r"failed in LiteRT .*crashed with SIGKILL"):
            runner.run("decoder", inputs)


def test_what_computes_is_named(tiny_bundle: GetBundle) -> None:
    require_runtime("litert_gpu")
    with open_runner(tiny_bundle("tflite"), "litert_gpu", components=("decoder",)) as runner:
        assert runner.engine.startswith("LiteRT ") and "(GPU, float16) on " in runner.engine
        if "llvmpipe" in runner.engine:
            assert not runner.representative
    with open_runner(tiny_bundle("tflite"), "litert_gpu_fp32", components=("decoder",)) as runner:
        assert "(GPU, float32) on " in runner.engine


def test_without_a_gpu_one_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lavapipe, "missing", lambda: "there is none: run 'mobilesam phones'")
    for kind in (runtime.LiteRTGPURunner, runtime.LiteRTGPUFloat32Runner):
        with pytest.raises(MissingDependencyError, match=f"'{kind.name}' needs a GPU: there is no"):
            kind.require()
