"""Core ML packages as an app wants them: described in full, or both components in one package."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from converters.base import AUTHOR, LICENCE, Conversion
from mobilesam import __version__
from mobilesam.bundle.contract import CONTRACT_VERSION
from mobilesam.bundle.manifest import FileRecord, size_on_disk
from mobilesam.files import sha256_of

if TYPE_CHECKING:
    from coremltools.models import MLModel
    from coremltools.proto.Model_pb2 import ModelDescription

PACKAGE = "model.mlpackage"
_STRAY = "executorch_debug_handle_mapping.json"
"""Coremltools adds it to every package made of an exported program; Core ML has no use for it."""


def describe(model: "MLModel", job: Conversion) -> None:
    """Say in the package who made what, and what each input and output means."""
    model.author = AUTHOR
    model.license = _licence(job)
    model.version = __version__
    model.short_description = f"{job.title}, I/O contract {CONTRACT_VERSION}"
    for spec in job.signature.inputs:
        model.input_description[spec.name] = _meaning(spec.meaning, spec.axes)
    for spec in job.signature.outputs:
        model.output_description[spec.name] = _meaning(spec.meaning, spec.axes)
    model.user_defined_metadata.update(job.metadata)


def save(model: "MLModel", path: Path) -> None:
    """Write a package."""
    model.save(str(path))
    (path / _STRAY).unlink(missing_ok=True)


def merge(jobs: Sequence[Conversion], records: Sequence[FileRecord]) -> list[FileRecord]:
    """Merge the components' packages into one with a function for each, and remove them.

    Coremltools drops the description of the whole package on the way, so that it is written again.
    Source: https://apple.github.io/coremltools/docs-guides/source/multifunction-models.html
    """
    import coremltools as ct

    folder = jobs[0].folder
    target, bare = folder / PACKAGE, folder / f".{PACKAGE}"
    functions = ct.utils.MultiFunctionDescriptor()
    for job in jobs:
        functions.add_function(
            str(job.path(".mlpackage")),
            src_function_name="main",
            target_function_name=job.signature.name,
        )
    functions.default_function_name = jobs[0].signature.name
    ct.utils.save_multifunction(functions, str(bare))
    model = ct.models.MLModel(str(bare), skip_model_load=True)
    spec = model.get_spec()
    _describe_all(spec.description, jobs)
    save(ct.models.MLModel(spec, weights_dir=model.weights_dir, skip_model_load=True), target)
    for path in (bare, *(job.path(".mlpackage") for job in jobs)):
        shutil.rmtree(path)
    names = {job.component: job.signature.name for job in jobs}
    changes = {"path": PACKAGE, "sha256": sha256_of(target), "size_bytes": size_on_disk(target)}
    return [
        record.model_copy(update={**changes, "function": names[record.component]})
        for record in records
    ]


def _describe_all(description: "ModelDescription", jobs: Sequence[Conversion]) -> None:
    first = jobs[0]
    metadata = description.metadata
    metadata.author = AUTHOR
    metadata.license = _licence(first)
    metadata.versionString = __version__
    titles = "; ".join(f"{job.signature.name}: {job.title}" for job in jobs)
    metadata.shortDescription = f"{titles}; I/O contract {CONTRACT_VERSION}"
    shared = {key: value for key, value in first.metadata.items() if key != "component"}
    metadata.userDefined.update(shared | {"components": ", ".join(job.component for job in jobs)})
    by_name = {job.signature.name: job for job in jobs}
    for function in description.functions:
        job = by_name[function.name]
        specs = {spec.name: spec for spec in (*job.signature.inputs, *job.signature.outputs)}
        for feature in (*function.input, *function.output):
            spec = specs[feature.name]
            feature.shortDescription = _meaning(spec.meaning, spec.axes)


def _licence(job: Conversion) -> str:
    return f"{LICENCE}; weights: {job.spec.weights.licence}"


def _meaning(meaning: str, axes: Sequence[str]) -> str:
    return f"{meaning} [{', '.join(axes)}]"
