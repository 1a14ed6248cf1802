"""The folder an app team receives, and the manifest that lets it be run and judged by itself."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mobilesam.bundle.contract import (
    COMPONENTS,
    CONTRACT_VERSION,
    Component,
    Contract,
    EmbeddingType,
    InputVariant,
    Interface,
    Masks,
)
from mobilesam.bundle.paths import require_inside
from mobilesam.bundle.tensors import Shape, Signature, shapes_of
from mobilesam.errors import BundleError
from mobilesam.files import sha256_of
from mobilesam.inference.transforms import ChannelOrder
from mobilesam.validation import first_problem

MANIFEST_NAME = "manifest.json"
LOG_NAME = "export.log"

TORCHSCRIPT_EXTRA = "contract.json"
"""Provenance in a TorchScript archive, read by ``torch.jit.load(..., _extra_files=...)``."""


Positive = Annotated[int, Field(gt=0)]


class Record(BaseModel):
    """Base of everything in a manifest: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TensorRecord(Record):
    """An input or output as the contract defines it, see ``tensors.TensorSpec``."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    axes: tuple[str, ...]
    meaning: str
    slot_counts: tuple[int, ...] = ()
    open_axes: tuple[str, ...] = ()

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Every shape that the tensor may have."""
        return shapes_of(self)


class SignatureRecord(Record):
    """One component as a function."""

    name: str
    inputs: tuple[TensorRecord, ...]
    outputs: tuple[TensorRecord, ...]

    @classmethod
    def of(cls, signature: Signature) -> "SignatureRecord":
        """Copy a contract's signature."""
        return cls.model_validate(
            {
                "name": signature.name,
                "inputs": [vars(spec) for spec in signature.inputs],
                "outputs": [vars(spec) for spec in signature.outputs],
            }
        )


class FileRecord(Record):
    """One artefact: a file, or a folder such as an ``.mlpackage``.

    Attributes:
        path: relative to the bundle, with forward slashes.
        runtime: name of the runner that opens it, as in ``mobilesam.runtimes``.
        function: name of the component's function in a file that holds both; empty where the file
            holds the component alone.
        sha256: of the file, or of a folder as :func:`mobilesam.files.sha256_of` defines it.
        size_bytes: of the file, or the sum over a folder's files.
        note: what a user must know, such as "legacy".
    """

    path: str
    component: Component
    runtime: str
    function: str = ""
    sha256: str
    size_bytes: int
    note: str = ""


class WeightsRecord(Record):
    """Where the weights came from.

    Attributes:
        name: "demo", "official" or the file's name.
        source: path or address of the file.
        sha256: of the tensors, as :func:`mobilesam.weights.checkpoints.tensors_sha256` defines it.
        key: where in the file they lie, if it holds several complete sets.
    """

    name: str
    source: str
    sha256: str
    licence: str
    description: str
    key: str = ""


class SchemeRecord(Record):
    """Numeric scheme: its name and what it means for this target."""

    name: str
    meaning: str


class Manifest(Record):
    """Everything needed to run and judge the bundle without the code that made it.

    Attributes:
        least_tested: name of each runtime to its oldest version on which such files gave right
            masks; empty in bundles that are older than this field.
        activation_ranges: low and high of the inputs and outputs of each component's layers, as
            PyTorch computed them in calibration; empty where there was none.
    """

    contract_version: str
    target: str
    scheme: SchemeRecord
    variant: str
    image_size: Positive
    stride: Positive
    channels: Positive
    input_variant: InputVariant
    slots: Positive
    slot_counts: tuple[int, ...] = ()
    interface: Interface = "mobilesam"
    channel_order: ChannelOrder = "rgb"
    masks: Masks = "low_res"
    photo_size: tuple[int, int] | None = None
    embedding_type: EmbeddingType = "float32"
    signatures: dict[Component, SignatureRecord]
    files: tuple[FileRecord, ...]
    preprocessing: dict[str, str | list[float]]
    postprocessing: dict[str, str | float]
    labels: dict[int, str]
    weights: WeightsRecord
    calibration: dict[str, str] | None = None
    activation_ranges: dict[Component, dict[str, tuple[float, float]]] = {}
    options: dict[str, str] = {}
    least_tested: dict[str, str] = {}
    tools: dict[str, str]
    export_key: str
    licence: str

    @model_validator(mode="after")
    def _has_both_components(self) -> "Manifest":
        for what, found in (
            ("file", {record.component for record in self.files}),
            ("signature", self.signatures),
        ):
            for component in COMPONENTS:
                if component not in found:
                    raise ValueError(f"there is no {what} of the {component}")
        return self

    @property
    def contract(self) -> Contract:
        """The contract the bundle was exported to."""
        return Contract(
            self.image_size,
            self.stride,
            self.channels,
            self.input_variant,
            self.slots,
            self.slot_counts,
            self.interface,
            self.channel_order,
            self.masks,
            self.photo_size,
            self.embedding_type,
        )

    def follows(self, minor: int) -> bool:
        """Whether the bundle keeps what the contract promises since this minor version."""
        own = self.contract_version.partition(".")[2]
        return own.isdigit() and int(own) >= minor


class BundleFolder:
    """A bundle on disk: its folder and its manifest. :class:`mobilesam.Bundle` also runs it.

    Args:
        path: the folder that holds ``manifest.json``.

    Raises:
        BundleError: no manifest, a malformed one, one of a newer contract, or one with a file path
            that leaves the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.manifest = _read_manifest(self.path)

    @property
    def name(self) -> str:
        """Target and scheme, as in ``coreml-fp16``."""
        return f"{self.manifest.target}-{self.manifest.scheme.name}"

    @property
    def manifest_sha256(self) -> str:
        """Of the manifest's file, which has the digests of all others."""
        return sha256_of(self.path / MANIFEST_NAME)

    @property
    def runtimes(self) -> tuple[str, ...]:
        """Names of the runtimes this bundle has files for, in the manifest's order."""
        return tuple(dict.fromkeys(record.runtime for record in self.manifest.files))

    def file(self, component: Component, runtime: str) -> Path:
        """Path of the artefact of a component for a runtime.

        Raises:
            BundleError: the manifest has none, or it is missing.
        """
        return self._existing(self.record(component, runtime))

    def record(self, component: Component, runtime: str) -> FileRecord:
        """What the manifest says of the artefact of a component for a runtime.

        Raises:
            BundleError: the manifest has none.
        """
        for record in self.manifest.files:
            if (record.component, record.runtime) == (component, runtime):
                return record
        raise BundleError(f"{self.path} has no {component} file for {runtime}")

    def size_bytes(self, runtime: str) -> int:
        """Bytes on disk of a runtime's files, encoder and decoder together."""
        return sum(self.component_sizes(runtime).values())

    def component_sizes(self, runtime: str) -> dict[str, int]:
        """Bytes on disk of each component; a file that holds several counts as the first's."""
        sizes: dict[str, int] = {}
        counted: set[str] = set()
        for record in self.manifest.files:
            if record.runtime == runtime:
                sizes[record.component] = 0 if record.path in counted else record.size_bytes
                counted.add(record.path)
        return sizes

    def verify(self) -> None:
        """Check every file against the manifest.

        Raises:
            BundleError: a file is missing or its digest differs, named.
        """
        altered = self.altered()
        if altered:
            raise BundleError(
                f"{self.path}: '{altered[0]}' is not the file that was exported (its SHA-256 "
                "differs from the manifest's), export the bundle again"
            )

    def require_files(self) -> None:
        """Check that every file is there, without reading any.

        Raises:
            BundleError: a file is missing, named.
        """
        for record in self.manifest.files:
            self._existing(record)

    def altered(self) -> list[str]:
        """The files whose SHA-256 is not the manifest's, as paths relative to the bundle.

        Raises:
            BundleError: a file is missing, named.
        """
        stated = {record.path: record for record in self.manifest.files}
        return [
            path
            for path, record in stated.items()
            if sha256_of(self._existing(record)) != record.sha256
        ]

    def _existing(self, record: FileRecord) -> Path:
        path = require_inside(self.path, record.path)
        if not path.exists():
            raise BundleError(f"'{path}' is missing, export the bundle again")
        return path


def size_on_disk(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(file.stat().st_size for file in files)


def key_of(parts: Mapping[str, object]) -> str:
    """Digest of everything that determines an export, to recognise an unchanged one."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST_NAME
    if not folder.is_dir():
        raise BundleError(f"{folder} is not a folder: give the folder that holds {MANIFEST_NAME}")
    if not path.is_file():
        raise BundleError(f"{folder} is not a bundle: it has no {MANIFEST_NAME}")
    try:
        text = path.read_text("utf-8")
        raw = json.loads(text, object_pairs_hook=_without_repetition)
        if not isinstance(raw, dict):
            raise ValueError("it holds no object")
        version = str(raw["contract_version"])
        major = int(version.split(".")[0])
    except KeyError as error:
        raise BundleError(
            f"{path} is not a manifest (it has no {error}), export the bundle again"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not a manifest ({error}), export the bundle again") from None
    if major != int(CONTRACT_VERSION.split(".")[0]):
        raise BundleError(
            f"{path} follows contract {version}, this version reads contract {CONTRACT_VERSION}: "
            + ("update mobilesam-export" if major > 1 else "export the bundle again")
        )
    try:
        manifest = Manifest.model_validate_json(text, strict=True)
    except ValidationError as error:
        where, said = first_problem(error)
        raise BundleError(
            f"{path} is malformed at '{where}': {said}; export the bundle again"
        ) from None
    for record in manifest.files:
        require_inside(folder, record.path)
    return manifest


def _without_repetition(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of a JSON file; one reader would take the first of two equal keys, one the last.

    Raises:
        ValueError: a key occurs twice.
    """
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"'{key}' is in it twice")
        found[key] = value
    return found
