"""What `mobilesam evaluate` points at: photos, and the masks that the model should find in them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mobilesam.data.coco_masks import CocoImage, CocoObject, read_coco
from mobilesam.data.image_files import named, require_folder
from mobilesam.data.mask_geometry import deepest, tight_box
from mobilesam.data.masked_images import (
    MIN_AREA,
    MIN_SHOWN,
    Segment,
    read_labels,
    read_manifest,
    segment_mask,
)
from mobilesam.errors import InputError

Bools = npt.NDArray[np.bool_]

GOOD_RULE = (
    f"things of at least {MIN_AREA} pixels, at least {MIN_SHOWN:.0%} of them not hidden by others"
)
COCO_RULE = f"objects of at least {MIN_AREA} pixels, no crowds"
EVERY_RULE = "every segment"
EVERY_COCO_RULE = "every object, no crowds"


@dataclass(frozen=True)
class TrueMask:
    """One mask to be found.

    Attributes:
        category: what it is.
        mask: [H, W] bool, not empty.
        point: x, y of a pixel deep inside.
    """

    category: str
    mask: Bools
    point: tuple[float, float]

    @cached_property
    def box(self) -> tuple[int, int, int, int]:
        """The tight box, x1, y1, x2, y2; the last two are just outside."""
        return tight_box(self.mask)

    @property
    def filled_box(self) -> Bools:
        """The box as a mask, [H, W] bool."""
        x1, y1, x2, y2 = self.box
        filled = np.zeros_like(self.mask)
        filled[y1:y2, x1:x2] = True
        return filled


@dataclass(frozen=True)
class MaskedPhoto:
    """A photo with its masks.

    Attributes:
        file: its name, as the manifest or the COCO file has it.
        path: where it is.
        group: photos of one group are alike: frames of one film. Others have a group each.
        count: masks to be scored; may be 0.
        targets: returns the masks for a photo of that (H, W).
    """

    file: str
    path: Path
    group: str
    count: int
    targets: Callable[[tuple[int, int]], list[TrueMask]]


def manifest_photos(folder: Path, *, every: bool = False) -> list[MaskedPhoto]:
    """Photos of a folder with a manifest, sorted by name.

    Args:
        folder: holds ``manifest.json``, see :mod:`mobilesam.data.masked_images`.
        every: take every segment, not only the good ones (:data:`GOOD_RULE`).

    Raises:
        InputError: the folder or its manifest cannot be used. Whether each photo can be used is
            found as it is read.
    """
    require_folder(folder)
    photos = []
    for entry in read_manifest(folder, require_files=False).images:
        segments = [s for s in entry.segments if s.area > 0 and (every or s.is_good)]
        if segments and entry.mask is None:
            raise InputError(f"'{entry.file}' in {folder} has segments but no label image")
        targets = partial(_of_labels, folder / (entry.mask or ""), segments)
        group = entry.sequence or entry.file
        photos.append(MaskedPhoto(entry.file, folder / entry.file, group, len(segments), targets))
    return sorted(photos, key=lambda photo: photo.file)


def coco_photos(folder: Path, annotations: Path, *, every: bool = False) -> list[MaskedPhoto]:
    """Photos of a COCO instances file, sorted by name.

    Args:
        folder: of the images.
        annotations: the JSON file.
        every: take small objects too, not only :data:`COCO_RULE`.

    Raises:
        InputError: the folder or the file cannot be used.
        MissingDependencyError: pycocotools is not installed.
    """
    require_folder(folder)
    photos = []
    for image in read_coco(annotations):
        objects = [found for found in image.objects if every or found.area >= MIN_AREA]
        path = folder / image.file
        targets = partial(_of_objects, path, image, objects)
        photos.append(MaskedPhoto(image.file, path, image.file, len(objects), targets))
    return sorted(photos, key=lambda photo: photo.file)


def chosen(photos: Sequence[MaskedPhoto], names: Sequence[str], source: Path) -> list[MaskedPhoto]:
    """The photos that are named, with or without their folder.

    Args:
        photos: to choose from.
        names: as in ``MaskedPhoto.file``, or its last part.
        source: where the names were read, for the error.

    Raises:
        InputError: a name that no photo has.
    """
    wanted = named((photo.file for photo in photos), names, source)
    return [photo for photo in photos if photo.file in wanted]


def _of_labels(path: Path, segments: Sequence[Segment], size: tuple[int, int]) -> list[TrueMask]:
    labels = read_labels(path, size)
    return [
        TrueMask(segment.category, segment_mask(labels, segment, path), segment.point)
        for segment in segments
    ]


def _of_objects(
    path: Path, image: CocoImage, objects: Sequence[CocoObject], size: tuple[int, int]
) -> list[TrueMask]:
    image.require_size(path, size)
    targets = []
    for found in objects:
        try:
            mask = found.mask()
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        if mask.any():  # a polygon thinner than a pixel leaves nothing
            x, y, _ = deepest(mask)
            targets.append(TrueMask(found.category, mask, (x, y)))
    return targets
