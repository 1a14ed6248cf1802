"""The points decoder that an ONNX bundle may hold beside its decoder, for many clicks on one photo.

Its four graphs lie in ``points/`` in the bundle with a record of their own: they compute nothing
that the bundle's decoder does not, and are held against it whenever they are used.
"""

import json
from pathlib import Path

from pydantic import ValidationError

from mobilesam.bundle.manifest import BundleFolder, Record
from mobilesam.errors import BundleError
from mobilesam.files import sha256_of
from mobilesam.validation import first_problem

FOLDER = "points"
RECORD = "points.json"

PREPARE, ATTEND, WEIGH, UPSCALE = "prepare", "attend", "weigh", "upscale"

TENSORS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    PREPARE: (
        ("image_embeddings",),
        ("image", "placed_image", "keys", "values", "queries"),
    ),
    ATTEND: (
        ("image", "placed_image", "keys", "values", "queries", "point_coords"),
        ("iou_predictions", "tokens", "positions", "seen_image"),
    ),
    WEIGH: (("tokens", "positions", "seen_image"), ("mask_weights",)),
    UPSCALE: (("cells", "mask_weights"), ("logits",)),
}
"""Inputs and outputs of each graph. ``cells`` are as many as there are of the rows of
``seen_image``."""


class PointsRecord(Record):
    """What was exported.

    Attributes:
        export_key: of the bundle that it was made for.
        sha256: of each graph's file, by the graph's name.
    """

    export_key: str
    sha256: dict[str, str]


def points_files(bundle: BundleFolder) -> dict[str, Path] | None:
    """The file of each graph of a bundle's points decoder; None where it has none.

    Raises:
        BundleError: it is incomplete, altered, or was made for another bundle.
    """
    folder = bundle.path / FOLDER
    if not folder.exists():
        return None
    again = "export the bundle again with --points-decoder"
    path = folder / RECORD
    try:
        record = PointsRecord.model_validate_json(path.read_text("utf-8"), strict=True)
    except ValidationError as error:
        where, said = first_problem(error)
        raise BundleError(f"{path} is malformed at '{where}': {said}; {again}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} cannot be read ({error}), {again}") from None
    if record.export_key != bundle.manifest.export_key:
        raise BundleError(f"{folder} was made for another bundle than the one it lies in, {again}")
    files = {name: folder / f"{name}.onnx" for name in TENSORS}
    for name, file in files.items():
        if not file.is_file():
            raise BundleError(f"'{file}' is missing, {again}")
        if sha256_of(file) != record.sha256.get(name):
            raise BundleError(f"{file} is not the file that was exported, {again}")
    return files


def write_record(bundle: BundleFolder, folder: Path) -> None:
    """Write the record of the graphs that lie in a folder, for a bundle."""
    digests = {name: sha256_of(folder / f"{name}.onnx") for name in TENSORS}
    record = {"export_key": bundle.manifest.export_key, "sha256": digests}
    (folder / RECORD).write_text(json.dumps(record, indent=2), "utf-8")
