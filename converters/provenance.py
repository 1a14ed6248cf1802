"""What a manifest says beside the files: weights, tools, constants, and the export's key."""

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path

from converters.activation_ranges import Ranges
from converters.base import LICENCE, Conversion, converter_of
from converters.calibration import calibration_record
from converters.lookup import least_tested, meaning_of
from converters.schemes import Target
from converters.spec import ExportSpec
from mobilesam import __version__
from mobilesam.bundle.contract import CONTRACT_VERSION, Component
from mobilesam.bundle.manifest import (
    FileRecord,
    Manifest,
    SchemeRecord,
    WeightsRecord,
    key_of,
    size_on_disk,
)
from mobilesam.bundle.prescribed import prescribed
from mobilesam.files import sha256_of
from mobilesam.model.sam import MobileSAM
from mobilesam.weights.checkpoints import tensors_sha256


def weights_record(model: MobileSAM) -> WeightsRecord:
    """Where a model's weights came from, as long as they are still the ones that were loaded."""
    sha256 = tensors_sha256(model.state_dict())
    if model.weights is not None and model.weights.sha256 == sha256:
        return WeightsRecord(**asdict(model.weights))
    origin = "unknown" if model.weights is None else f"changed since loaded: {model.weights.name}"
    return WeightsRecord(
        name="in-memory",
        source=origin,
        sha256=sha256,
        licence="unknown",
        description="weights of a model that was given as an object",
    )


def tools(row: Target) -> dict[str, str]:
    """Version of everything that took part in an export."""
    packages = dict.fromkeys(("torch", "numpy", *row.packages))
    return {
        "mobilesam-export": __version__,
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


def export_key(spec: ExportSpec) -> str:
    """Digest of everything that determines a bundle; equal keys need no second export."""
    return key_of(
        {
            "variant": spec.variant,
            "weights": spec.weights.model_dump(),
            "contract": [CONTRACT_VERSION, asdict(spec.contract)],
            "target": spec.target,
            "scheme": [spec.scheme, _meaning(spec)],
            "least_tested": _least_tested(spec),
            "options": settings(spec),
            "calibration": _calibration(spec),
            "tools": tools(spec.row),
            "source": source_digest(),
        }
    )


SOURCES = (
    "converters",
    "coreml_evaluator",
    "mobilesam/__init__.py",
    "mobilesam/bundle",
    "mobilesam/closing.py",
    "mobilesam/data/image_files.py",
    "mobilesam/data/sample_photos.py",
    "mobilesam/errors.py",
    "mobilesam/files.py",
    "mobilesam/inference/image_predictor.py",
    "mobilesam/inference/images.py",
    "mobilesam/inference/predictor.py",
    "mobilesam/inference/prompts.py",
    "mobilesam/inference/resampling.py",
    "mobilesam/inference/transforms.py",
    "mobilesam/model",
    "mobilesam/validation.py",
    "mobilesam/weights",
)
"""The code that makes bundles: every module that a worker imports lies in it, which a test checks.
What shows, runs or judges a bundle does not: a change there leaves bundles unchanged."""


@cache
def source_digest(root: Path = Path(__file__).parent.parent) -> str:
    """SHA-256 over the names and the text of :data:`SOURCES`.

    Args:
        root: folder that holds the packages.
    """
    total = hashlib.sha256()
    for source in (root / name for name in SOURCES):
        for path in sorted(source.rglob("*.py")) if source.is_dir() else [source]:
            total.update(path.relative_to(root).as_posix().encode() + b"\0")
            total.update(path.read_bytes())
    return total.hexdigest()


def file_records(job: Conversion) -> list[FileRecord]:
    """The files that were written for one component."""
    records = []
    for artefact in job.spec.row.artefacts:
        path = job.path(artefact.suffix)
        record = FileRecord(
            path=path.name,
            component=job.component,
            runtime=artefact.runtime,
            sha256=sha256_of(path),
            size_bytes=size_on_disk(path),
            note=artefact.note,
        )
        records.append(record)
    return records


def build_manifest(
    spec: ExportSpec, files: Sequence[FileRecord], ranges: Mapping[Component, Ranges] | None = None
) -> Manifest:
    """The manifest of a bundle whose files are written.

    Args:
        ranges: of each component in calibration; None or empty for a scheme that has none.
    """
    return Manifest(
        **prescribed(spec.contract),
        target=spec.target,
        scheme=SchemeRecord(name=spec.scheme, meaning=_meaning(spec)),
        variant=spec.variant,
        files=tuple(files),
        weights=spec.weights,
        calibration=_calibration(spec),
        activation_ranges=dict(ranges or {}),
        options=settings(spec),
        least_tested=_least_tested(spec),
        tools=tools(spec.row),
        export_key=export_key(spec),
        licence=LICENCE,
    )


def settings(spec: ExportSpec) -> dict[str, str]:
    """The converter's settings, the plan as the file that would say it, and the tuned weights."""
    return {
        **converter_of(spec.target).settings(spec),
        **({"plan": spec.plan.toml()} if spec.plan else {}),
        **(spec.distilled.settings if spec.distilled else {}),
    }


def _meaning(spec: ExportSpec) -> str:
    return meaning_of(spec.target, spec.scheme, spec.options.lowered_to())


def _least_tested(spec: ExportSpec) -> dict[str, str]:
    return least_tested(spec.target, spec.scheme, spec.options.lowered_to())


def _calibration(spec: ExportSpec) -> dict[str, str] | None:
    """What a bundle is calibrated on; None for one that is not."""
    return calibration_record(spec.contract, spec.calibration) if spec.calibrated else None
