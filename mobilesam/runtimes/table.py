"""The table of runtimes."""

import platform
from typing import NamedTuple

APPLE = "Apple"
ARM = "ARM CPU"
GPU = "GPU, float16"
GPU_FP32 = "GPU, float32"
NPU = "Snapdragon NPU"
BROWSER = "browser"
X86 = "x86-64 CPU"
HARDWARE = (X86, ARM, GPU, GPU_FP32, NPU, APPLE, BROWSER)
"""What may compute, in the order of the report's columns. Apple's is Core ML, Core AI, or what
evaluates Core ML's files elsewhere; a browser's wasm runs on any of the CPUs."""

_CPUS = {"x86_64": X86, "amd64": X86, "aarch64": ARM, "arm64": ARM}


class RunnerRow(NamedTuple):
    """One runtime.

    Attributes:
        module: of this package, where its runner is.
        class_name: of the runner.
        extra: of this distribution, which installs the runtime; None where the base does.
        files: whose files it runs, another row's name; None where bundles have files of its own.
        photos: how many photos ``parity`` asks it, where it is too slow for all of them.
        hardware: of :data:`HARDWARE`, what it computes with or stands in for; None: the CPU.
        slow: the schemes that ``photos`` is for; empty: all.
    """

    module: str
    class_name: str
    extra: str | None
    files: str | None = None
    photos: int | None = None
    hardware: str | None = None
    slow: tuple[str, ...] = ()


RUNNERS: dict[str, RunnerRow] = {
    "torchscript": RunnerRow("torchscript", "TorchScriptRunner", None),
    "lite_interpreter": RunnerRow("lite_interpreter", "LiteInterpreterRunner", None),
    "coreml": RunnerRow("coreml", "CoreMLRunner", "coreml", hardware=APPLE),
    "litert": RunnerRow("litert", "LiteRTRunner", "tflite"),
    "litert_gpu": RunnerRow("litert_gpu", "LiteRTGPURunner", "tflite", "litert", 1, GPU),
    "litert_gpu_fp32": RunnerRow(
        "litert_gpu", "LiteRTGPUFloat32Runner", "tflite", "litert", 1, GPU_FP32
    ),
    "onnxruntime": RunnerRow("onnxruntime", "ONNXRuntimeRunner", "onnx"),
    "executorch": RunnerRow("executorch", "ExecuTorchRunner", "executorch"),
    "executorch_coreml": RunnerRow(
        "executorch_coreml", "ExecuTorchCoreMLRunner", "executorch,coreml", hardware=APPLE
    ),
    "coreai": RunnerRow(
        "coreai", "CoreAIRunner", "coreai", photos=1, hardware=APPLE, slow=("fp16", "w8")
    ),
    "litert_web": RunnerRow("browser", "LiteRTWebRunner", "web", "litert", hardware=BROWSER),
    "onnxruntime_web": RunnerRow(
        "browser", "ONNXRuntimeWebRunner", "web", "onnxruntime", hardware=BROWSER
    ),
    "qnn_htp": RunnerRow(
        "qnn_htp", "QNNHTPRunner", "qualcomm", files="onnxruntime", photos=1, hardware=NPU
    ),
}
"""Runners of files, by the runtime's name. The reference is not one of them.

A manifest names the runtimes that a bundle has files for; a runtime with ``files`` runs another's,
and is used only where it is asked for.
"""


def files_of(runtime: str) -> str:
    """The runtime, as manifests name it, whose files a runtime runs: in most cases its own."""
    return RUNNERS[runtime].files or runtime


def hardware_of(runtime: str, processor: str | None = None) -> str:
    """What a runtime computes with, one of :data:`HARDWARE` or another CPU's name.

    Args:
        runtime: a key of :data:`RUNNERS`.
        processor: as ``platform.machine()`` names it; None: this machine's.
    """
    named = platform.machine() if processor is None else processor
    return RUNNERS[runtime].hardware or _CPUS.get(named.lower(), f"{named} CPU")


def photos_asked(runtime: str, scheme: str) -> int | None:
    """About how many photos ``parity`` asks a bundle of a scheme on a runtime; None: all."""
    row = RUNNERS[runtime]
    return None if row.slow and scheme not in row.slow else row.photos
