"""The table of what a release is judged on: a row for each kind of hardware."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from converters.executorch.options import ExecuTorchOptions
from converters.schemes import EXECUTORCH
from converters.spec import TargetOptions
from mobilesam.runtimes.table import APPLE, ARM, BROWSER, GPU, NPU, X86
from parity.comparison import compare
from parity.replay.emulated import judge_on_arm64
from parity.report import Report

FULL, SMALL = 1024, 256
"""Image sizes: the model's own, and one at which an emulator answers within minutes."""

Judge = Callable[[Sequence[Path], Path | None, bool], Report]
"""Bundles, a folder of photos or None for the built-in ones, and whether to show progress."""


def _on(*runtimes: str) -> Judge:
    """Judge bundles on runtimes of this machine; none: on those that their manifests name."""

    def judge(bundles: Sequence[Path], images: Path | None, progress: bool) -> Report:
        return compare(
            bundles, runtimes=runtimes or None, images=images, measure=False, progress=progress
        )

    return judge


def _on_arm(bundles: Sequence[Path], images: Path | None, progress: bool) -> Report:
    """Judge bundles on an emulated ARM core."""
    return judge_on_arm64(bundles, images=images, progress=progress)


class Part(NamedTuple):
    """One kind of hardware.

    Attributes:
        hardware: of :data:`mobilesam.runtimes.table.HARDWARE`.
        image_size: of the bundles that are judged on it.
        pairs: target to schemes; None stands for all of the target's.
        judge: makes the verdicts.
        runtimes: that must be installed beside the targets' own.
        emulator: of :data:`mobilesam.emulators.EMULATORS`, which it is set up by; None: pip alone.
        options: of a target's export, where they are not the usual ones; the part's bundles then
            lie in a folder of their own.
    """

    hardware: str
    image_size: int
    pairs: dict[str, tuple[str, ...] | None]
    judge: Judge
    runtimes: tuple[str, ...] = ()
    emulator: str | None = None
    options: Mapping[str, TargetOptions] = MappingProxyType({})


PARTS: dict[str, Part] = {
    "x86": Part(X86, FULL, {"tflite": None, "onnx": None, "executorch": None}, _on()),
    "arm": Part(ARM, FULL, {"tflite": None, "onnx": None}, _on_arm, emulator="arm64"),
    "gpu": Part(
        GPU,
        FULL,
        {"tflite": None},
        _on("litert_gpu"),
        runtimes=("litert_gpu",),
        emulator="lavapipe",
    ),
    "npu": Part(
        NPU,
        SMALL,
        {"onnx": ("fp32", "fp16", "w8", "w8d", "w8a8")},
        _on("qnn_htp"),
        runtimes=("qnn_htp",),
        emulator="htp",
    ),
    "coreai": Part(APPLE, FULL, {"coreai": ("fp32",)}, _on(), runtimes=("coreai",)),
    # Apple's runtime for Linux takes far longer in float16.
    "coreai-small": Part(APPLE, SMALL, {"coreai": ("fp16", "w8")}, _on(), runtimes=("coreai",)),
    "coreml": Part(APPLE, FULL, {"coreml": ("fp32", "fp16", "w8", "w8a8", "w4")}, _on()),
    "executorch-coreml": Part(
        APPLE,
        FULL,
        {EXECUTORCH: None},
        _on(),
        runtimes=("executorch_coreml",),
        options={EXECUTORCH: ExecuTorchOptions(backend="coreml")},
    ),
    "browser": Part(
        BROWSER,
        SMALL,
        {"tflite": None, "onnx": None},
        _on("litert_web", "onnxruntime_web"),
        runtimes=("litert_web", "onnxruntime_web"),
    ),
}
"""By the name that ``mobilesam phones --only`` takes."""
