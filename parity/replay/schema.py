"""What the files of a replay folder say; ``run.py`` reads and writes the same as plain JSON.

replay.json      PackIndex
run.py           answers every case, on the other machine
bundles/<name>/  copies of the bundles' files
photos/<i>.npz       ``rgb`` [H, W, 3] uint8; ``human_mask`` [H, W] bool if a person drew one
images/<f>/<i>.npz   the encoder's inputs, ``image`` as uint8 where that loses nothing
prompts/<p>/<i>.npz  ``<case>.<input>``: the decoder's other inputs
answers/<r>/<i>.npz  the reference's ``image_embeddings``, and ``low_res_masks`` [N, 4, S/4, S/4]
                     and ``iou_predictions`` [N, 4] of the photo's N cases
results/<name>/      ``result.json`` (Result), ``encoder-<i>.npz`` with ``image_embeddings`` and
                     ``decoder-<i>.npz`` with ``<case>.<stage>.<output>``
"""

import json
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from mobilesam.bundle.prompt_types import Packing, PromptType
from mobilesam.errors import BundleError
from mobilesam.validation import first_problem
from mobilesam.weights.checkpoints import WeightsInfo
from parity.replay.run import INDEX, RESULT, RESULTS, SCHEMA_VERSION, sha256
from parity.schema import BundleReport, Measurement, ReportRecord, UnusableImage


class PackedCase(ReportRecord):
    """One prompt of a photo, in pixels of the photo.

    Attributes:
        human: the photo's human-made mask is of what the prompt points at.
        refines: its mask input is the best of the reference's logits of the first case.
        packing: how it lies in the decoder's inputs.
        everyday: judged end to end too, not of the decoder alone.
    """

    name: str
    prompt_type: PromptType
    point_coords: list[tuple[float, float]]
    point_labels: list[float]
    box: tuple[float, float, float, float] | None
    human: bool
    refines: bool
    packing: Packing = "plain"
    everyday: bool = True


class PackedPhoto(ReportRecord):
    """A photo, its size in pixels, and what it is asked about."""

    name: str
    height: int
    width: int
    file: str
    cases: list[PackedCase]


class PackedReference(ReportRecord):
    """What one PyTorch model answered: a file a photo."""

    weights: WeightsInfo | None
    variant: str
    image_size: int
    answers: list[str]


class PackedBundle(ReportRecord):
    """A bundle and what its files are given.

    Attributes:
        name: unique in the folder.
        title: what the report calls it; empty in packs older than this field, which have the name.
        folder: relative to the replay folder.
        runtimes: those of the bundle that ``run.py`` knows.
        reference: place in :attr:`PackIndex.references`.
        images, prompts: a file a photo.
        cases: of each photo, the places of the cases that fit into the decoder's slots.
        audits: by runtime, what was found in the files where the model was.
    """

    name: str
    title: str = ""
    folder: str
    runtimes: list[str]
    reference: int
    images: list[str]
    prompts: list[str]
    cases: list[list[int]]
    audits: dict[str, BundleReport] = {}


class PackIndex(ReportRecord):
    """``replay.json``; its own SHA-256 is the pack's identity.

    Attributes:
        unusable_images: photos that were left out, and why.
        files: SHA-256 of every other file, by path with forward slashes.
    """

    schema_version: str = SCHEMA_VERSION
    created: str
    tool_version: str
    command: str
    photos: list[PackedPhoto]
    unusable_images: list[UnusableImage] = []
    references: list[PackedReference]
    bundles: list[PackedBundle]
    files: dict[str, str]


class Result(ReportRecord):
    """``result.json``: one bundle on one choice of compute units of one machine.

    Attributes:
        pack: SHA-256 of the ``replay.json`` that was run.
        compute_units: of Core ML, else null.
        threads: null is the runtime's own choice.
        emulated_cpu: what qemu emulated; empty where the machine's own CPU computed.
        error: why it could not be run; else empty.
        files: SHA-256 of each npz.
    """

    schema_version: str
    pack: str
    bundle: str
    runtime: str
    compute_units: str | None
    threads: int | None
    engine: str
    machine: dict[str, str]
    created: str
    error: str
    measurements: list[Measurement]
    emulated_cpu: str = ""
    files: dict[str, str]


def read_pack(folder: Path) -> PackIndex:
    """``replay.json`` of a folder of which every file is as it was packed.

    Raises:
        BundleError: there is none, it is malformed or of another version, or a file is missing or
            altered.
    """
    index = _read(folder / INDEX, PackIndex)
    for name, expected in index.files.items():
        _require(folder / name, expected, "pack again")
    return index


def result_files(folder: Path) -> list[Path]:
    """Every ``result.json`` of a replay folder, by name; what was not finished has none."""
    found = (folder / RESULTS).glob(f"*/{RESULT}")
    return sorted(path for path in found if not path.parent.name.startswith("."))


def read_result(path: Path, pack: str) -> Result:
    """A result of this pack whose files are as ``run.py`` wrote them.

    Args:
        path: of ``result.json``.
        pack: SHA-256 of the pack's ``replay.json``.

    Raises:
        BundleError: it is malformed, of another pack, or a file is missing or altered.
    """
    result = _read(path, Result)
    if result.pack != pack:
        raise BundleError(
            f"{path} answers another pack ({result.pack[:12]}…, not {pack[:12]}…): run the run.py "
            "of this one"
        )
    for name, expected in result.files.items():
        _require(path.parent / name, expected, "copy the results again")
    return result


T = TypeVar("T", bound=ReportRecord)


def _read(path: Path, kind: type[T]) -> T:
    try:
        raw = json.loads(path.read_text("utf-8"))
        version = str(raw["schema_version"])
    except FileNotFoundError:
        raise BundleError(
            f"'{path.parent}' is not a replay folder: it has no {path.name}"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path} cannot be read ({error}): copy it again") from None
    if version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        raise BundleError(f"{path} is of version {version}, this one reads {SCHEMA_VERSION}")
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        where, said = first_problem(error)
        raise BundleError(f"{path} is malformed at '{where}': {said}") from None


def _require(path: Path, expected: str, remedy: str) -> None:
    if not path.is_file():
        raise BundleError(f"'{path}' is missing: {remedy}")
    if sha256(path) != expected:
        raise BundleError(f"'{path}' was altered, its SHA-256 is not the recorded one: {remedy}")
