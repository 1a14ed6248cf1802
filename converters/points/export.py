"""Adds the points decoder to an ONNX bundle: four graphs, each run and compared with PyTorch."""

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from converters.modules import refuse_train_mode
from converters.points.modules import AttendModule, PrepareModule, UpscaleModule, WeighModule
from converters.schemes import ONNX
from mobilesam.bundle.manifest import BundleFolder
from mobilesam.bundle.points import (
    ATTEND,
    FOLDER,
    PREPARE,
    TENSORS,
    UPSCALE,
    WEIGH,
    points_files,
    write_record,
)
from mobilesam.errors import BundleError, ExportError, InputError
from mobilesam.files import renewed_folder
from mobilesam.model.build import load_model
from mobilesam.model.sam import MobileSAM

OPSET = 20
"""The first with an operation for GELU, which runtimes compute faster than its parts."""

CLOSE = 1e-4
"""Relative L2 between a written graph and PyTorch; float32 in another order stays below 1e-5."""


def require_points(bundle: BundleFolder) -> None:
    """Check that a bundle can have a points decoder.

    Raises:
        InputError: it is not an ONNX bundle in fp32 with this project's interface.
    """
    manifest = bundle.manifest
    if (manifest.target, manifest.scheme.name, manifest.interface) != (ONNX, "fp32", "mobilesam"):
        raise InputError(
            f"a points decoder is for ONNX bundles of scheme fp32 with the interface mobilesam, "
            f"not for {bundle.path}"
        )


def has_points_decoder(bundle: BundleFolder) -> bool:
    """Whether a bundle has one that can be used: whole, unaltered, and of this version's graphs."""
    try:
        return points_files(bundle) is not None
    except BundleError:
        return False


def add_points_decoder(bundle: BundleFolder, weights: MobileSAM | str | Path) -> Path:
    """Write the points decoder of a bundle into its folder, whole or not at all.

    Args:
        bundle: of ONNX, fp32.
        weights: those that it was exported from.

    Returns:
        The folder of the graphs.

    Raises:
        InputError: the bundle is of another kind, or of other weights.
        CheckpointError: the weights cannot be loaded.
        ExportError: a graph does not compute what PyTorch does; nothing was written.
    """
    require_points(bundle)
    size = bundle.manifest.image_size
    model = weights if isinstance(weights, MobileSAM) else load_model(weights, image_size=size)
    refuse_train_mode(model)
    found = model.weights.sha256 if model.weights else ""
    if found and found != bundle.manifest.weights.sha256:
        raise InputError(f"{bundle.path} was exported from other weights than '{weights}'")
    with renewed_folder(bundle.path / FOLDER) as folder:
        _write_graphs(model, folder)
        write_record(bundle, folder)
    return bundle.path / FOLDER


def _write_graphs(model: MobileSAM, folder: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    grid = model.grid_size
    embedding = torch.rand(1, model.channels, grid, grid, generator=generator) * 2 - 1
    point = torch.tensor([[[0.3 * model.image_size, 0.6 * model.image_size]]])
    modules = {
        PREPARE: PrepareModule(model).eval(),
        ATTEND: AttendModule(model).eval(),
        WEIGH: WeighModule(model).eval(),
        UPSCALE: UpscaleModule(model).eval(),
    }
    values = {"image_embeddings": embedding, "point_coords": point}
    for name, module in modules.items():
        inputs, outputs = TENSORS[name]
        given = tuple(values[each] for each in inputs)
        with torch.no_grad():
            answer = module(*given)
        answers = answer if isinstance(answer, tuple) else (answer,)
        values |= zip(outputs, answers, strict=True)
        if name == ATTEND:
            values["cells"] = values["seen_image"]
        path = folder / f"{name}.onnx"
        _export(module, given, path, name)
        _compare(
            path, {each: values[each] for each in inputs}, dict(zip(outputs, answers, strict=True))
        )


def _export(module: nn.Module, given: tuple[Tensor, ...], path: Path, name: str) -> None:
    import onnx

    inputs, outputs = TENSORS[name]
    any_count = {0: torch.export.Dim("cells", min=1)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch copies its own trees
        program = torch.onnx.export(
            module,
            given,
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            dynamic_shapes=[any_count if each == "cells" else None for each in inputs],
            dynamo=True,
            optimize=True,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise ExportError(f"the ONNX exporter gave no program for the points decoder's '{name}'")
    onnx.checker.check_model(program.model_proto, full_check=True)
    path.write_bytes(program.model_proto.SerializeToString(deterministic=True))


def _compare(path: Path, given: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Run a written graph and hold its outputs against PyTorch's."""
    import onnxruntime as ort

    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(list(wanted), {name: value.numpy() for name, value in given.items()})
    for (name, value), array in zip(wanted.items(), found, strict=True):
        exact = value.numpy()
        if not np.linalg.norm(array - exact) <= CLOSE * np.linalg.norm(exact):
            raise ExportError(
                f"{path.name} of the points decoder gives another '{name}' than PyTorch"
            )
