"""A bundle and its runner without a converter: the contract's modules, run by PyTorch."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from converters.modules import build_module
from converters.provenance import build_manifest
from mobilesam.bundle.contract import COMPONENTS, Component, Contract, InputVariant, Masks
from mobilesam.bundle.manifest import MANIFEST_NAME, FileRecord, size_on_disk
from mobilesam.bundle.tensors import Signature
from mobilesam.files import sha256_of
from mobilesam.inference.transforms import ChannelOrder
from mobilesam.model.build import load_model
from mobilesam.model.sam import MobileSAM
from mobilesam.runtimes.base import Arrays, BundleRunner
from parity import comparison, judging, origin
from parity.cases import default_photos
from parity.schema import BundleReport
from tests.specs import make_spec

SIZE = 64

Arrays_ = dict[str, np.ndarray]


@cache
def demo_model(image_size: int = SIZE) -> MobileSAM:
    """The demo weights at a small image size, loaded once."""
    return load_model("demo", image_size=image_size)


def write_bundle(
    folder: Path,
    model: MobileSAM,
    *,
    input_variant: InputVariant = "pixels",
    channel_order: ChannelOrder = "rgb",
    masks: Masks = "low_res",
    photo_size: tuple[int, int] | None = None,
    slots: int = 8,
    scheme: str = "fp32",
    target: str = "torchscript",
) -> Path:
    """A bundle whose manifest is right and whose files answer zeros."""
    folder.mkdir(parents=True)
    contract = Contract.of(
        model,
        input_variant=input_variant,
        slots=slots,
        channel_order=channel_order,
        masks=masks,
        photo_size=photo_size,
    )
    files = []
    for component in COMPONENTS:
        path = folder / f"{component}.pt"
        _write_zeros(path, contract.signature(component))
        files.append(
            FileRecord(
                path=path.name,
                component=component,
                runtime="torchscript",
                sha256=sha256_of(path),
                size_bytes=size_on_disk(path),
            )
        )
    spec = make_spec(model, target, scheme, contract=contract)
    manifest = build_manifest(spec, files)
    (folder / MANIFEST_NAME).write_text(manifest.model_dump_json())
    return folder


def _write_zeros(path: Path, signature: Signature) -> None:
    """A file with the contract's inputs and outputs, and nothing behind them."""
    graph = torch.fx.Graph()
    for spec in signature.inputs:
        graph.placeholder(spec.name)
    zeros = tuple(
        graph.call_function(torch.zeros, (spec.shape,), {"dtype": getattr(torch, spec.dtype)})
        for spec in signature.outputs
    )
    graph.output(zeros if len(zeros) > 1 else zeros[0])
    module = torch.fx.GraphModule(torch.nn.Module(), graph)
    given = tuple(torch.zeros(spec.shape) for spec in signature.inputs)
    traced = torch.jit.trace(module, given, check_trace=False).eval()
    torch.jit.save(torch.jit.freeze(traced), str(path))


class ModuleRunner(BundleRunner):
    """Runs the reference's own modules as if they had been read from the bundle's files."""

    name = "torchscript"

    def load(self) -> None:
        model = demo_model(self.image_size)
        self._modules = {c: build_module(model, c, self.contract) for c in COMPONENTS}

    def unload(self) -> None:
        self._modules = {}

    @torch.inference_mode()
    def run(self, component: Component, inputs: Arrays) -> Arrays_:
        tensors = [
            torch.from_numpy(np.ascontiguousarray(inputs[spec.name], spec.dtype))
            for spec in self.contract.signature(component).inputs
        ]
        outputs = self._modules[component](*tensors)
        named = outputs if isinstance(outputs, tuple) else (outputs,)
        specs = self.contract.signature(component).outputs
        return {spec.name: value.numpy() for spec, value in zip(specs, named, strict=True)}


def without_audits(patch: pytest.MonkeyPatch) -> None:
    """Judge by masks alone: the files of these bundles hold no weights."""
    patch.setattr(comparison, "add_audits", lambda *_: None)


def run_modules(patch: pytest.MonkeyPatch) -> None:
    """Run the modules of the demo weights as if they had been read from a bundle's files."""
    patch.setattr(origin, "load_model", lambda _, __, size, **___: demo_model(size))
    patch.setattr(judging, "open_runner", lambda bundle, _, **given: ModuleRunner(bundle))
    without_audits(patch)


def judged(folder: Path, photos: Path, **contract: Any) -> BundleReport:
    """The verdict on a bundle of the demo weights with such a contract, written to a folder."""
    bundle = write_bundle(folder, demo_model(), **contract)
    return comparison.compare([bundle], images=photos, measure=False, progress=False).bundles[0]


def changed(component: Component, change: Callable[[Arrays_], Arrays_]) -> type[ModuleRunner]:
    """A runner that does something to a component's outputs."""

    class Changed(ModuleRunner):
        def run(self, of: Component, inputs: Arrays) -> Arrays_:
            outputs = super().run(of, inputs)
            return change(outputs) if of == component else outputs

    return Changed


def write_photos(folder: Path) -> Path:
    """A small wide photo and a small tall one."""
    folder.mkdir(parents=True)
    photos = {photo.name: photo.load() for photo in default_photos()}
    coffee, astronaut = photos["coffee"], photos["astronaut"]
    Image.fromarray(coffee).resize((210, 140)).save(folder / "cup.png")
    Image.fromarray(astronaut[:, 60:360]).resize((90, 154)).save(folder / "woman.png")
    return folder
