"""Golden vectors of a bundle: one photo's inputs and PyTorch's answers, for a host without Python.

A folder of raw tensors (row-major, little-endian float32, or uint8) and ``golden.json``, which
names them and holds the limits of the bundle's row in ``thresholds.toml``. A test on a phone feeds
the inputs to the bundle's files and compares what comes out. The photo itself, the prompts in its
pixels and the masks to show lie there too, so that a test can begin where an app begins and end
where it ends.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mobilesam.bundle.contract import CONTRACT_VERSION, InputVariant
from mobilesam.bundle.manifest import Record
from mobilesam.bundle.prompt_types import PromptType, Subject
from mobilesam.errors import BundleError, InputError
from mobilesam.files import new_folder, require_new
from mobilesam.inference.images import load_image
from mobilesam.inference.transforms import ChannelOrder
from mobilesam.model.sam import MobileSAM
from mobilesam.runtimes import open_runner
from mobilesam.runtimes.base import BundleRunner
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.reference import ReferenceRunner
from parity.bundles import require_own_interface
from parity.cases import PromptedPhoto, default_photos
from parity.framing import framed
from parity.origin import Origin
from parity.photos import stored_photos
from parity.references import Answer, PhotoReference, reference_answers
from parity.thresholds import Row, Thresholds

INDEX_NAME = "golden.json"
FORMAT = "1.1"
"""Since 1.1 a tensor says its dtype, which was float32 before, and the photo lies there."""

PHOTO_NAME = "photo.rgb"


class TensorFile(Record):
    """One tensor: its name in the contract, shape, dtype, and its file relative to the index."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    file: str


class Call(Record):
    """What goes into a component and what PyTorch answers."""

    inputs: tuple[TensorFile, ...]
    outputs: tuple[TensorFile, ...]


class GoldenCase(Call):
    """One prompt. The decoder's image embedding is the encoder's output.

    Attributes:
        ambiguous: a lone point, which is offered three masks to choose from.
        points: x, y in pixels of the photo; labels: 1 or 0 of each. box: x1, y1, x2, y2, or None.
            With an input ``has_mask_input`` of 1 the prompt also has the logits of ``mask_input``.
        chosen: the mask to show, by PyTorch's answer.
        mask: file of that mask at the photo's size: a bit a pixel, row after row, the first pixel
            in the highest bit of the first byte.
        degenerate: of each mask, whether its IoU is not judged.
    """

    name: str
    prompt_type: PromptType
    ambiguous: bool
    points: tuple[tuple[float, float], ...]
    labels: tuple[int, ...]
    box: tuple[float, float, float, float] | None
    chosen: int
    mask: str
    degenerate: tuple[bool, ...]


class Golden(Record):
    """The index.

    Attributes:
        bundle: target and scheme.
        files: SHA-256 of each of the bundle's files, by path.
        image: name of the photo; original_size: its height and width.
        photo: file of its pixels, rows of R, G, B as bytes.
        limits: the row of the thresholds file that the bundle must meet.
    """

    format: str
    contract_version: str
    bundle: str
    files: dict[str, str]
    weights: str
    image: str
    image_size: int
    original_size: tuple[int, int]
    photo: str
    input_variant: InputVariant
    channel_order: ChannelOrder
    encoder: Call
    cases: tuple[GoldenCase, ...]
    limits: Row


def golden_vectors(
    folder: Path,
    out: Path,
    *,
    image: Path | None = None,
    weights: str | None = None,
    thresholds: Path | None = None,
) -> Golden:
    """Write the golden vectors of a bundle, after verifying its digests.

    Args:
        folder: of the bundle.
        out: a folder that is not there yet, or is empty.
        image: photo to ask about, its middle; None takes the first built-in one and its subject.
        weights: of the PyTorch model; None takes what the manifest names.
        thresholds: TOML file instead of ``parity/thresholds.toml``.

    Raises:
        BundleError: it is none, or a file was altered.
        InputError: the photo, the weights or the output folder cannot be used, or the bundle has
            another interface than this project's.
    """
    require_new(out)
    bundle = Bundle(folder)
    require_own_interface(bundle, "its answers have no four masks to compare with")
    bundle.verify()
    row = Thresholds(thresholds).row(bundle.manifest.target, bundle.manifest.scheme.name)
    photo = default_photos()[0] if image is None else _photo(image)
    origin = Origin.of(bundle, weights)
    model = origin.load()
    if model.weights is None or model.weights.sha256 != bundle.manifest.weights.sha256:
        raise InputError(
            f"'{origin.weights}' is not the checkpoint that {folder} was exported from: give that "
            "one with --weights"
        )
    return write_golden(bundle, model, photo, row, out)


def write_golden(
    bundle: Bundle, model: MobileSAM, photo: PromptedPhoto, row: Row, out: Path
) -> Golden:
    """Write the folder, all or nothing; without prompts that need more slots than the bundle has.

    Args:
        bundle: an intact one.
        model: the PyTorch model it was exported from.
        photo: with its subject.
        row: limits of the bundle.
        out: a folder that is not there yet, or is empty.

    Raises:
        InputError: the folder cannot be used.
        BundleError: the bundle's decoder has no slots for any prompt.
    """
    size = bundle.manifest.photo_size
    asked = photo if size is None else framed(photo, size)
    # Only prepares inputs: nothing of the bundle is loaded.
    runner = open_runner(bundle, bundle.runtimes[0])
    with (
        new_folder(out) as made,
        stored_photos([asked], [bundle.manifest.image_size]) as photos,
        ReferenceRunner(model) as reference,
        reference_answers(reference, photos) as (answers,),
    ):
        return _write(made, bundle, runner, answers, row)


def _write(
    folder: Path, bundle: Bundle, runner: BundleRunner, photo: PhotoReference, row: Row
) -> Golden:
    rgb = photo.photo.pixels()
    answers = [a for a in photo.answers() if a.case.slots <= runner.contract.slots]
    if not answers:
        raise BundleError(
            f"{bundle.path} has {runner.contract.slots} slot(s), too few for any prompt: export "
            "with more slots"
        )
    manifest = bundle.manifest
    golden = Golden(
        format=FORMAT,
        contract_version=CONTRACT_VERSION,
        bundle=bundle.name,
        files={record.path: record.sha256 for record in manifest.files},
        weights=manifest.weights.name,
        image=photo.photo.name,
        image_size=manifest.image_size,
        original_size=rgb.shape[:2],
        photo=PHOTO_NAME,
        input_variant=manifest.input_variant,
        channel_order=manifest.channel_order,
        encoder=Call(
            inputs=_save(folder, "encoder", runner.prepare_image(rgb)),
            outputs=_save(folder, "encoder", {"image_embeddings": photo.embedding()}),
        ),
        cases=tuple(
            _case(folder, f"case-{number}", runner, answer)
            for number, answer in enumerate(answers, start=1)
        ),
        limits=row,
    )
    (folder / PHOTO_NAME).write_bytes(np.ascontiguousarray(rgb).tobytes())
    (folder / INDEX_NAME).write_text(golden.model_dump_json(indent=2) + "\n", "utf-8")
    return golden


def _case(folder: Path, place: str, runner: BundleRunner, answer: Answer) -> GoldenCase:
    case = answer.case
    outputs = {"low_res_masks": answer.low_res[None], "iou_predictions": answer.iou[None]}
    inputs = _save(folder, place, case.inputs(runner))
    mask = f"{place}/mask.bits"
    (folder / mask).write_bytes(np.packbits(answer.masks[answer.chosen]).tobytes())
    prompt = case.prompt
    return GoldenCase(
        name=case.name,
        prompt_type=case.prompt_type,
        ambiguous=case.prompt.is_ambiguous,
        points=prompt.point_coords.tolist(),
        labels=prompt.point_labels.astype(int).tolist(),
        box=None if prompt.box is None else prompt.box.tolist(),
        inputs=inputs,
        outputs=_save(folder, place, outputs),
        chosen=answer.chosen,
        mask=mask,
        degenerate=answer.degenerate,
    )


def _save(folder: Path, place: str, arrays: Mapping[str, np.ndarray]) -> tuple[TensorFile, ...]:
    (folder / place).mkdir(exist_ok=True)
    records = []
    for name, array in arrays.items():
        dtype = "uint8" if array.dtype == np.uint8 else "float32"
        record = TensorFile(name=name, shape=array.shape, dtype=dtype, file=f"{place}/{name}.bin")
        np.ascontiguousarray(array, np.dtype(dtype).newbyteorder("<")).tofile(folder / record.file)
        records.append(record)
    return tuple(records)


def _photo(path: Path) -> PromptedPhoto:
    pixels = load_image(path)  # refused before a model is loaded
    return PromptedPhoto(path.name, lambda: pixels, Subject.middle)
