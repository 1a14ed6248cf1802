"""Real inputs to calibrate static schemes on: photos, and prompts of several types on each."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.resources import as_file
from pathlib import Path

import numpy as np

from converters.spec import MIN_MAX, CalibrationOptions
from mobilesam.bundle.contract import Component, Contract, pack_image, pack_prompt
from mobilesam.data.image_files import image_files
from mobilesam.data.sample_photos import PHOTOS, data_folder
from mobilesam.files import sha256_of
from mobilesam.inference.images import load_image
from mobilesam.inference.predictor import Predictor, choose_mask
from mobilesam.inference.prompts import Prompt, make_prompt
from mobilesam.model.sam import MobileSAM

Box = tuple[float, float, float, float]
Inputs = dict[str, np.ndarray]

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


def calibration_photos(folder: Path | None) -> list[CalibrationPhoto]:
    """Photos to calibrate on: a folder's, or those of scikit-image that bundles are not judged on.

    Raises:
        InputError: no such folder, or no image in it.
        MissingDependencyError: no folder was given and scikit-image is not installed.
    """
    if folder is not None:
        return [
            CalibrationPhoto(path.name, sha256_of(path), partial(load_image, path))
            for path in image_files(folder, readable=True)
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
    photos = calibration_photos(folder)
    prompts = len(_prompts((16, 16), None, contract.slots))
    return {
        "method": options.method,
        "source": f"folder '{folder.name}'" if folder else BUILT_IN,
        "photos": str(len(photos)),
        "encoder_samples": str(len(photos)),
        "decoder_samples": str(len(photos) * prompts),
        "photos_sha256": _set_digest(photos),
    }


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
        method: see :class:`converters.spec.CalibrationOptions`.
    """

    def __init__(
        self,
        model: MobileSAM,
        contract: Contract,
        folder: Path | None,
        method: str = MIN_MAX,
    ) -> None:
        self.model = model
        self.contract = contract
        self.folder = folder
        self.method = method

    @cached_property
    def photos(self) -> list[CalibrationPhoto]:
        """See :func:`calibration_photos`."""
        return calibration_photos(self.folder)

    def samples(self, component: Component) -> Iterator[Inputs]:
        """A component's inputs by contract name, one sample after the other.

        For the encoder each photo. For the decoder each photo's embedding with a point, two points
        (one background), a box, a box with a point, and a point with the mask of the first answer.

        Raises:
            ImageError: a photo cannot be read or used.
        """
        for photo in self.photos:
            rgb = photo.load()
            if component == "encoder":
                yield pack_image(rgb, self.contract)
            else:
                yield from self._decoder_inputs(rgb, photo.box)

    def _decoder_inputs(self, rgb: np.ndarray, box: Box | None) -> Iterator[Inputs]:
        predictor = Predictor(self.model)
        predictor.set_image(rgb)
        embedding = {"image_embeddings": predictor.embedding.cpu().numpy()}
        earlier: np.ndarray | None = None
        low = self.contract.low_res_size
        for points, labels, around, refines in _prompts(rgb.shape[:2], box, self.contract.slots):
            prompt = make_prompt(
                points or None,
                labels or None,
                around,
                earlier if refines else None,
                original_size=rgb.shape[:2],
                low_res_size=low,
            )
            yield embedding | pack_prompt(prompt, predictor.frame, self.contract)
            if earlier is None:
                earlier = _shown(predictor, prompt)


_Points = list[tuple[float, float]]
_Row = tuple[_Points, list[int], Box | None, bool]


def _prompts(size: tuple[int, int], box: Box | None, slots: int) -> list[_Row]:
    """Points, labels, box, and whether the first answer's mask goes in, of each prompt that fits.

    Without a box the middle half of a photo of ``size`` (H, W) stands in.
    """
    height, width = size
    x1, y1, x2, y2 = box or (width / 4, height / 4, width * 3 / 4, height * 3 / 4)
    middle, corner = ((x1 + x2) / 2, (y1 + y2) / 2), (x1 / 2, y1 / 2)
    around = (x1, y1, x2, y2)
    rows: list[_Row] = [
        ([middle], [1], None, False),
        ([middle, corner], [1, 0], None, False),
        ([], [], around, False),
        ([middle], [1], around, False),
        ([middle], [1], None, True),
    ]
    return [row for row in rows if len(row[0]) + (2 if row[2] else 1) <= slots]


def _shown(predictor: Predictor, prompt: Prompt) -> np.ndarray:
    """Low-res logits [S/4, S/4] of the mask that SAM would show."""
    low_res, iou = predictor.decode(prompt)
    logits: np.ndarray = low_res[0, choose_mask(prompt, iou[0].cpu().numpy())].cpu().numpy()
    return logits
