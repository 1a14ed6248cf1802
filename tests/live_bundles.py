"""Bundles of a small model with every parameter live, exported once a test session."""

from functools import lru_cache

import pytest

from conftest import shared_folder
from converters import export
from mobilesam.model.build import build
from mobilesam.model.sam import MobileSAM
from mobilesam.runtimes.bundle import Bundle
from tests.upstream.oracle import randomize

SIZE = 256


@lru_cache
def live_model(size: int = SIZE) -> MobileSAM:
    """A model whose every parameter and buffer is random: a freshly built one has dead branches."""
    model = build(image_size=size)
    randomize(model, seed=0)
    return model.requires_grad_(False)


def live_bundle(temporary: pytest.TempPathFactory, target: str, scheme: str = "fp32") -> Bundle:
    """The live model's bundle of a target, exported on first use.

    Skips when the converter is not installed.
    """
    for module in REQUIRED[target]:
        pytest.importorskip(module, reason=f"{module} is not installed")
    out = shared_folder(temporary, "live-bundles")
    (made,) = export(live_model(), targets=target, schemes=scheme, out=out, progress=False)
    return Bundle(made.path)


REQUIRED = {
    "torchscript": (),
    "coreml": ("coremltools",),
    "tflite": ("litert_torch", "ai_edge_litert"),
    "onnx": ("onnxscript", "onnxruntime"),
    "executorch": ("executorch.runtime",),
}
