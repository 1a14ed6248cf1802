"""Inputs to calibrate static schemes on: photos, images made for it, and every kind of prompt.

What lies outside the range that calibration samples reached is cut off in the file. Which inputs
reach furthest is not known beforehand, so that every kind of prompt is among the samples.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.resources import as_file
from pathlib import Path

import numpy as np

from converters.spec import MIN_MAX, CalibrationOptions
from mobilesam.bundle.contract import Component, Contract, pack_image, pack_prompt
from mobilesam.bundle.prompt_types import (
    STRIP_PROMPTS,
    Box,
    PromptRow,
    Share,
    Subject,
    everyday_prompts,
    remaining_prompts,
)
from mobilesam.data.image_files import image_files
from mobilesam.data.sample_photos import PHOTOS, data_folder
from mobilesam.errors import InputError, reason_of
from mobilesam.files import sha256_of
from mobilesam.inference.images import fitted, load_image, middle_strip
from mobilesam.inference.predictor import Predictor, choose_mask
from mobilesam.inference.prompts import Prompt, make_prompt
from mobilesam.inference.transforms import Frame
from mobilesam.model.sam import MobileSAM

_LOG = logging.getLogger(__name__)

Inputs = dict[str, np.ndarray]

ROOM = {"w8a16": 2.0}
"""How many times as far as the samples reached the ranges of a scheme go. One of 16 bits is not
missed in any mask, and what other photos and masks reach beyond the samples is not cut off."""

BUILT_IN = "scikit-image's sample photos, less those that bundles are judged on"


@dataclass(frozen=True)
class CalibrationPhoto:
    """One photo.

    Attributes:
        name: of the file. sha256: of its bytes.
        load: returns the photo, HxWx3 uint8 RGB.
        box: x1, y1, x2, y2 around an object, in pixels; None where none is known.
    """

    name: str
    sha256: str
    load: Callable[[], np.ndarray]
    box: Box | None = None


def usable_names(folder: Path, image_size: int) -> tuple[str, ...]:
    """Names of a folder's photos that can be calibrated on, each decoded; the others are logged.

    Args:
        folder: of photos.
        image_size: S, the side of the frame that they must fit.

    Raises:
        InputError: no such folder, or no photo in it that can be used.
    """
    paths = image_files(folder)
    refused = {}
    for path in paths:
        try:
            Frame(load_image(path).shape[:2], image_size)
        except (InputError, OSError) as error:
            refused[path.name] = reason_of(error)
    if not refused:
        return tuple(path.name for path in paths)
    which = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
    if len(refused) == len(paths):
        raise InputError(f"none of {len(paths)} photos in '{folder}' can be calibrated on: {which}")
    _LOG.warning(
        "left out %d of %d photos in '%s', so that ranges come from %d: %s",
        len(refused), len(paths), folder, len(paths) - len(refused), which,
    )  # fmt: skip
    return tuple(path.name for path in paths if path.name not in refused)


def calibration_photos(
    folder: Path | None, names: Sequence[str] | None = None
) -> list[CalibrationPhoto]:
    """Photos to calibrate on: a folder's, or those of scikit-image that bundles are not judged on.

    Args:
        folder: of photos, or None.
        names: of those to take; None: every one that Pillow recognises.

    Raises:
        InputError: no such folder, or no image in it.
        MissingDependencyError: no folder was given and scikit-image is not installed.
    """
    if folder is not None:
        paths = [folder / n for n in names] if names else image_files(folder, readable=True)
        return [
            CalibrationPhoto(path.name, sha256_of(path), partial(load_image, path))
            for path in paths
        ]
    found = []
    for photo in PHOTOS:
        if not photo.judged:
            with as_file(data_folder() / photo.file) as path:
                sha256 = sha256_of(path)
            found.append(CalibrationPhoto(photo.file, sha256, photo.load, photo.box))
    return found


def calibration_record(contract: Contract, options: CalibrationOptions) -> dict[str, str]:
    """What a manifest says of a calibration: method, source, counts, and the photos' digest.

    Raises:
        InputError, MissingDependencyError: as in :func:`calibration_photos`.
    """
    folder = options.folder
    photos = calibration_photos(folder, options.names)
    asked = prompts_of(photos, contract)
    return {
        "method": options.method,
        "source": f"folder '{folder.name}'" if folder else BUILT_IN,
        "photos": str(len(photos)),
        "encoder_samples": str(len(photos) + len(made_images(photos))),
        "decoder_samples": str(sum(map(len, asked))),
        "photos_sha256": _set_digest(photos),
    }


def prompts_of(photos: Sequence[CalibrationPhoto], contract: Contract) -> list[list[PromptRow]]:
    """The prompts of each photo, then of each made image, as they would be in images of 16 x 16.

    In other photos they are as many and of the same kinds.
    """
    size, slots = (16, 16), contract.slots
    subject = Subject.middle(size)
    return [
        *(_prompts(subject, size, slots, share) for share in _shares(len(photos))),
        *(_few_prompts(subject, size, slots) for _ in made_images(photos)),
    ]


def _set_digest(photos: list[CalibrationPhoto]) -> str:
    """SHA-256 over each photo's name and digest, in order."""
    total = hashlib.sha256()
    for photo in photos:
        total.update(f"{photo.name}\0{photo.sha256}\n".encode())
    return total.hexdigest()


class Calibration:
    """The real inputs that an export is calibrated on.

    Args:
        model: in eval mode; computes the embeddings and earlier masks the decoder is given.
        contract: of the export.
        folder: the user's photos; None: those of scikit-image.
        method, names: see :class:`converters.spec.CalibrationOptions`.
    """

    def __init__(
        self,
        model: MobileSAM,
        contract: Contract,
        folder: Path | None,
        method: str = MIN_MAX,
        names: Sequence[str] | None = None,
    ) -> None:
        self.model = model
        self.contract = contract
        self.folder = folder
        self.method = method
        self.names = names

    @cached_property
    def photos(self) -> list[CalibrationPhoto]:
        """See :func:`calibration_photos`."""
        return calibration_photos(self.folder, self.names)

    def samples(self, component: Component) -> Iterator[Inputs]:
        """A component's inputs by contract name, one sample after the other.

        For the encoder each photo and each of :func:`made_images`. For the decoder the embedding
        of each with prompts: on every photo those that users ask most and a share of all others
        that the contract allows, on a made image a point and a box.

        Raises:
            ImageError: a photo cannot be read or used.
        """
        slots = self.contract.slots
        for photo, share in zip(self.photos, _shares(len(self.photos)), strict=True):
            rgb = photo.load()
            size = rgb.shape[:2]
            subject = Subject.of_box(photo.box) if photo.box else Subject.middle(size)
            yield from self._inputs(component, rgb, _prompts(subject, size, slots, share))
        for make in made_images(self.photos):
            rgb = make()
            size = rgb.shape[:2]
            rows = _few_prompts(Subject.middle(size), size, slots)
            yield from self._inputs(component, rgb, rows)

    def _inputs(
        self, component: Component, rgb: np.ndarray, rows: Sequence[PromptRow]
    ) -> Iterator[Inputs]:
        if component == "encoder":
            size = self.contract.photo_size
            yield pack_image(rgb if size is None else fitted(rgb, size), self.contract)
            return
        predictor = Predictor(self.model)
        predictor.set_image(rgb)
        embedding = {"image_embeddings": predictor.embedding.cpu().numpy()}
        earlier: np.ndarray | None = None
        for row in rows:
            prompt = make_prompt(
                row.points or None,
                row.labels or None,
                row.box,
                earlier if row.refines else None,
                original_size=rgb.shape[:2],
                low_res_size=self.contract.low_res_size,
            )
            yield embedding | pack_prompt(prompt, predictor.frame, self.contract)
            if earlier is None:
                earlier = _shown(predictor, prompt)


STRIPPED = 4
"""Strips are cut from so many photos at most, the first ones."""


def made_images(photos: Sequence[CalibrationPhoto]) -> list[Callable[[], np.ndarray]]:
    """Makers of images, HxWx3 uint8 RGB, in which an encoder's layers reach what no photo reaches.

    A wide and a tall strip of some photos, nearly all of whose frame is padding; an image all
    black and one all white.
    """
    return [
        *(partial(_strip, photo, axis) for photo in photos[:STRIPPED] for axis in (0, 1)),
        *(partial(np.full, (96, 128, 3), value, np.uint8) for value in (0, 255)),
    ]


def _strip(photo: CalibrationPhoto, axis: int) -> np.ndarray:
    return middle_strip(photo.load(), axis)


def _shares(photos: int) -> list[Share]:
    return [Share(place, photos) for place in range(photos)]


def _prompts(subject: Subject, size: tuple[int, int], slots: int, share: Share) -> list[PromptRow]:
    """The prompts of one photo; a single point comes first.

    What users ask most, the photo's share of what else there is, and of the prompts without a
    clear positive cue the next photo's share too: their answers vary most from photo to photo.
    Inputs that are not to be read are left empty, since ranges that hold them would be wider for
    nothing, and other orders of the slots give the same values.

    Args:
        subject: what to point at.
        size: H, W of the photo in pixels.
        slots: K of the decoder; prompts that take more are left out.
        share: the photo's place among all.
    """
    everyday = everyday_prompts(subject, size, turn=share.place)
    rest = [row for row in remaining_prompts(subject, size, slots) if row.packing == "plain"]
    own = share.of(rest)
    further = [r for r in share.following.of(rest) if not r.says_where and r not in own]
    return [row for row in everyday if row.slots <= slots] + own + further


def _few_prompts(subject: Subject, size: tuple[int, int], slots: int) -> list[PromptRow]:
    rows = everyday_prompts(subject, size)
    return [r for r in rows if r.prompt_type in STRIP_PROMPTS and r.slots <= slots]


def _shown(predictor: Predictor, prompt: Prompt) -> np.ndarray:
    """Low-res logits [S/4, S/4] of the mask that SAM would show."""
    low_res, iou = predictor.decode(prompt)
    logits: np.ndarray = low_res[0, choose_mask(prompt, iou[0].cpu().numpy())].cpu().numpy()
    return logits
