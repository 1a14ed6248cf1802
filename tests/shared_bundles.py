"""Bundles that tests share: exported when first asked for, kept for later runs, only to be read.

They lie in a folder that every process and every run sees (:data:`conftest.CACHE`). An export into
it costs next to nothing where the bundle there was made by the same code of the same weights.
"""

import gc
import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from conftest import shared_folder
from converters import export, session, worker
from converters.base import Conversion, converter_of
from converters.process import ConversionError
from converters.provenance import source_digest, tools
from converters.schemes import EXECUTORCH
from converters.spec import TargetOptions
from converters.task import Task
from mobilesam.files import written_whole
from mobilesam.model.build import load_model
from mobilesam.model.sam import MobileSAM
from mobilesam.runtimes.bundle import Bundle
from mobilesam.weights.checkpoints import tensors_sha256

DEMO_SIZE = 256
"""Side of the frame of the demo weights' bundles, where a test needs no full size."""

REQUIRED = {
    "torchscript": (),
    "coreml": ("coremltools",),
    "tflite": ("litert_torch", "ai_edge_litert"),
    "onnx": ("onnxscript", "onnxruntime"),
    "executorch": ("executorch.runtime",),
    "coreai": ("coreai.authoring", "coreai_torch"),
}
"""What must be importable for a target to be exported and run."""

_one_at_a_time = threading.Lock()


@cache
def demo_model() -> MobileSAM:
    """The demo weights in the small frame; not to be changed."""
    return load_model("demo", image_size=DEMO_SIZE)


@cache
def demo_bundle(target: str, scheme: str) -> Bundle:
    """The demo weights' bundle in a float scheme.

    Skips when the converter is not installed.
    """
    return exported(demo_model(), "demo", target, [scheme])[scheme]


def require_converter(*targets: str) -> None:
    """Skip the test where a target's converter or runtime is not installed."""
    for target in targets:
        for module in REQUIRED.get(target, ()):
            pytest.importorskip(module, reason=f"{module} is not installed")


def exported(
    model: MobileSAM,
    name: str,
    target: str,
    schemes: Sequence[str],
    options: TargetOptions | None = None,
    **other: Any,
) -> dict[str, Bundle]:
    """Bundles of a model in some schemes of a target, by scheme.

    Args:
        name: of the model and the options; bundles of different ones lie in different folders.
        options: of the target.
        other: arguments of `export`.

    Skips when the converter is not installed.
    """
    require_converter(target, *([options.lowered_to()] if options is not None else []))
    out = shared_folder(name)
    with in_this_process():
        asked = {} if options is None else {target: options}
        made = export(
            model,
            targets=target,
            schemes=schemes,
            out=out,
            options=asked,
            progress=False,
            **other,
        )
    return {each.scheme: Bundle(each.path) for each in made}


@contextmanager
def in_this_process() -> Iterator[None]:
    """Convert here, one after the other, instead of each in a process of its own.

    Such a process spends 2 to 7 seconds on importing what it converts with.
    """
    threads = torch.get_num_threads()
    # Looking for garbage takes a tenth of a conversion; coremltools does it besides, a second each
    # time with torch imported.
    gc.freeze()
    gc.disable()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "convert_in_process", _convert)
        try:
            yield
        finally:
            gc.enable()
            torch.set_num_threads(threads)


def _convert(task: Task, scratch: Path, cancelled: Callable[[], bool]) -> None:
    with _one_at_a_time, pytest.MonkeyPatch.context() as patch:
        if (task.spec.target, task.spec.scheme) == (EXECUTORCH, "fp32"):
            patch.setattr(worker, "converter_of", _lowering_once)
        error = worker.run(task).error
    gc.collect()
    if error is not None:
        raise ConversionError(error, "")


def _lowering_once(target: str) -> Any:
    """ExecuTorch's converter, which copies the file of a program that some bundle has already.

    Bundles that take photos otherwise share their decoders, and those that give masks otherwise
    their encoders. Lowering one takes half a minute, and depends on nothing but the program.
    """
    own = converter_of(target)

    def convert(job: Conversion) -> None:
        kept = shared_folder("lowered") / f"{_digest(job)}.pte"
        if not kept.is_file():
            own.convert(job)
            with written_whole(kept) as partial:
                shutil.copyfile(job.path(".pte"), partial)
        else:
            shutil.copyfile(kept, job.path(".pte"))

    return SimpleNamespace(convert=convert, read_io=own.read_io)


def _digest(job: Conversion) -> str:
    """Of everything that the file of a component is made of."""
    program = job.program
    tensors = {**program.state_dict, **program.constants}
    parts = (
        *(str(program.graph_module.code), str(program.graph_signature), tensors_sha256(tensors)),
        *(job.signature.name, repr(job.spec.options), repr(tools(job.spec.row)), source_digest()),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
