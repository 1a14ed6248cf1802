"""The table of runtimes."""

from typing import NamedTuple


class RunnerRow(NamedTuple):
    """One runtime.

    Attributes:
        module: of this package, where its runner is.
        class_name: of the runner.
        extra: of this distribution, which installs the runtime; None where the base does.
        files: whose files it runs, another row's name; None where bundles have files of its own.
        photos: how many photos ``parity`` asks it, where it is too slow for all of them.
    """

    module: str
    class_name: str
    extra: str | None
    files: str | None = None
    photos: int | None = None


RUNNERS: dict[str, RunnerRow] = {
    "torchscript": RunnerRow("torchscript", "TorchScriptRunner", None),
    "lite_interpreter": RunnerRow("lite_interpreter", "LiteInterpreterRunner", None),
    "coreml": RunnerRow("coreml", "CoreMLRunner", "coreml"),
    "litert": RunnerRow("litert", "LiteRTRunner", "tflite"),
    "onnxruntime": RunnerRow("onnxruntime", "ONNXRuntimeRunner", "onnx"),
    "executorch": RunnerRow("executorch", "ExecuTorchRunner", "executorch"),
    "coreai": RunnerRow("coreai", "CoreAIRunner", "coreai", photos=1),
}
"""Runners of files, by the runtime's name. The reference is not one of them.

A manifest names the runtimes that a bundle has files for; a runtime with ``files`` runs another's,
and is used only where it is asked for.
"""


def files_of(runtime: str) -> str:
    """The runtime, as manifests name it, whose files a runtime runs: in most cases its own."""
    return RUNNERS[runtime].files or runtime
