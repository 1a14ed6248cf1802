"""Golden masks: one photo, a few prompts, and PyTorch's masks as pictures, in one small folder.

Where :mod:`parity.golden` writes every tensor of one bundle, tens of megabytes at full size, this
writes only what an app begins and ends with. The masks follow from the weights, so that one folder
serves every bundle of the same weights and image size, whatever its inputs and outputs are.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from pydantic import ValidationError

from mobilesam.bundle.manifest import Record
from mobilesam.bundle.paths import require_inside
from mobilesam.bundle.prompt_types import PromptType
from mobilesam.errors import InputError, PromptError
from mobilesam.files import new_folder
from mobilesam.inference.images import load_image
from mobilesam.inference.predictor import choose_mask
from mobilesam.inference.prompts import Prompt, make_prompt
from mobilesam.inference.transforms import MASK_THRESHOLD, upscale_logits
from mobilesam.model.sam import MobileSAM
from mobilesam.runtimes.bundle import Bundle, BundlePredictor
from mobilesam.runtimes.reference import ReferenceRunner
from mobilesam.validation import first_problem
from parity.cases import PromptedPhoto
from parity.metrics import iou
from parity.photos import stored_photos
from parity.references import Answer, reference_answers
from parity.thresholds import MaskLimits, Thresholds

INDEX_NAME = "masks.json"
FORMAT = "1.0"
PHOTO_NAME = "photo.png"


class MaskCase(Record):
    """One prompt.

    Attributes:
        points: x, y in pixels of the photo; labels: 1 or 0 of each. box: x1, y1, x2, y2, or None.
        chosen: which of the four masks is shown, by PyTorch's answer.
        masks: files of the four, PNG of one bit a pixel, white in the mask, the photo's size.
        degenerate: of each mask, whether its IoU is not judged.
    """

    name: str
    prompt_type: PromptType
    points: tuple[tuple[float, float], ...]
    labels: tuple[int, ...]
    box: tuple[float, float, float, float] | None
    chosen: int
    masks: tuple[str, ...]
    degenerate: tuple[bool, ...]


class GoldenMasks(Record):
    """The index.

    Attributes:
        weights_sha256: of the tensors, as a manifest has it.
        image: name of the photo; photo: its file; original_size: its height and width.
    """

    format: str
    weights_sha256: str
    variant: str
    image_size: int
    image: str
    photo: str
    original_size: tuple[int, int]
    cases: tuple[MaskCase, ...]


class Compared(NamedTuple):
    """One mask that a bundle drew: its IoU with PyTorch's, and the least that is right."""

    case: str
    mask: int
    iou: float
    limit: float

    @property
    def passed(self) -> bool:
        """Whether it is near enough."""
        return self.iou >= self.limit


def write_masks(model: MobileSAM, photo: PromptedPhoto, out: Path) -> GoldenMasks:
    """Write the golden masks of a model's everyday prompts about a photo, all or nothing.

    Args:
        model: with its weights.
        out: a folder that is not there yet, or is empty.

    Raises:
        InputError: the folder cannot be used.
    """
    with (
        new_folder(out) as made,
        stored_photos([photo], [model.image_size]) as photos,
        ReferenceRunner(model) as reference,
        reference_answers(reference, photos) as (answers,),
    ):
        pixels = answers.photo.pixels()
        Image.fromarray(pixels).save(made / PHOTO_NAME, optimize=True)
        everyday = [answer for answer in answers.answers() if answer.case.everyday]
        asked = [answer for answer in everyday if answer.case.prompt.mask_input is None]
        golden = GoldenMasks(
            format=FORMAT,
            weights_sha256=model.weights.sha256 if model.weights else "",
            variant=model.variant,
            image_size=model.image_size,
            image=answers.photo.name,
            photo=PHOTO_NAME,
            original_size=pixels.shape[:2],
            cases=tuple(_case(made, number, answer) for number, answer in enumerate(asked, 1)),
        )
        (made / INDEX_NAME).write_text(golden.model_dump_json(indent=2) + "\n", "utf-8")
    return golden


def _case(folder: Path, number: int, answer: Answer) -> MaskCase:
    prompt, files = answer.case.prompt, []
    for place, mask in enumerate(answer.masks):
        files.append(f"case-{number}-mask-{place}.png")
        Image.fromarray(mask).save(folder / files[-1], optimize=True)
    return MaskCase(
        name=answer.case.name,
        prompt_type=answer.case.prompt_type,
        points=prompt.point_coords.tolist(),
        labels=prompt.point_labels.astype(int).tolist(),
        box=None if prompt.box is None else prompt.box.tolist(),
        chosen=answer.chosen,
        masks=tuple(files),
        degenerate=answer.degenerate,
    )


def compare_masks(
    bundle: Bundle, folder: Path, *, thresholds: Path | None = None
) -> list[Compared]:
    """Draw the golden masks with a bundle's files, on the first of its runtimes.

    Prompts that need more point slots than the bundle has are left out. A file that chooses the
    mask itself is held against the masks that it may choose from.

    Args:
        folder: of golden masks.
        thresholds: TOML file instead of ``parity/thresholds.toml``.

    Raises:
        InputError: the folder holds no golden masks, or those of other weights or another size, or
            the bundle has too few slots for any prompt.
        BundleError: a file of the bundle is missing, altered or cannot be loaded.
        MissingDependencyError: the runtime is not installed.
    """
    golden = read_masks(folder)
    manifest, runtime = bundle.manifest, bundle.runtimes[0]
    ours = (manifest.weights.sha256, manifest.variant, manifest.image_size)
    if (golden.weights_sha256, golden.variant, golden.image_size) != ours:
        raise InputError(
            f"'{folder}' holds masks of other weights, another model or another image size than "
            f"{bundle.path}: give the golden masks that were made for it"
        )
    limits = Thresholds(thresholds).row(manifest.target, manifest.scheme.name, runtime).end_to_end
    photo = load_image(require_inside(folder, golden.photo))
    found: list[Compared] = []
    with bundle.predictor(runtime) as predictor:
        predictor.set_image(photo)
        for case in golden.cases:
            found += _compared(predictor, case, folder, limits)
    if not found:
        raise InputError(f"{bundle.path} has too few point slots for any of the golden masks")
    return found


def read_masks(folder: Path) -> GoldenMasks:
    """The index of a folder of golden masks.

    Raises:
        InputError: there is none, or it is malformed.
    """
    path = folder / INDEX_NAME
    try:
        return GoldenMasks.model_validate_json(path.read_text("utf-8"))
    except OSError:
        raise InputError(f"'{folder}' holds no golden masks: it has no {INDEX_NAME}") from None
    except ValidationError as error:
        where, said = first_problem(error)
        raise InputError(f"'{path}' is malformed at '{where}': {said}") from None


def _compared(
    predictor: BundlePredictor, case: MaskCase, folder: Path, limits: MaskLimits
) -> list[Compared]:
    prompt = make_prompt(
        case.points or None,
        case.labels or None,
        case.box,
        original_size=predictor.frame.original_size,
        low_res_size=predictor.low_res_size,
    )
    try:
        low_res, _ = predictor.decode(prompt)
    except PromptError:
        return []
    drawn = (upscale_logits(low_res, predictor.frame)[0] > MASK_THRESHOLD).numpy()
    wanted = [_read_mask(folder, name, predictor.frame.original_size) for name in case.masks]
    own = limits.prompt_types.get(case.prompt_type)
    limit = limits.mask_iou_min if own is None else own.mask_iou_min
    manifest = predictor.bundle.manifest
    if manifest.interface == "sam" or manifest.masks == "full":
        may = [place for place in _choices(prompt) if not case.degenerate[place]]
        if len(may) < len(_choices(prompt)):
            return []
        nearest = max(may, key=lambda place: iou(wanted[place], drawn[0]))
        return [Compared(case.name, nearest, iou(wanted[nearest], drawn[0]), limit)]
    return [
        Compared(case.name, place, iou(mask, drawn[place]), limit)
        for place, mask in enumerate(wanted)
        if not case.degenerate[place]
    ]


def _choices(prompt: Prompt) -> list[int]:
    """The masks that a file may choose from: one for a clear prompt, three for an ambiguous one."""
    tops = {choose_mask(prompt, np.eye(4)[place]) for place in range(4)}
    return sorted(tops)


def _read_mask(folder: Path, name: str, size: tuple[int, int]) -> np.ndarray:
    path = require_inside(folder, name)
    try:
        with Image.open(path) as picture:
            mask = np.asarray(picture.convert("1"))
    except OSError:
        raise InputError(f"'{path}' is no picture of a mask: write them again") from None
    if mask.shape != tuple(size):
        raise InputError(f"'{path}' is not of the photo's size: write the golden masks again")
    return mask
