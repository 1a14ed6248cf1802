"""Which photos and masks are scored, and whether the photos can be used."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilesam.data.image_files import read_names
from mobilesam.errors import InputError
from mobilesam.inference.images import load_image
from mobilesam.inference.transforms import Frame
from mobilesam.progress import Step
from parity.evaluation.masked_photos import (
    COCO_RULE,
    EVERY_COCO_RULE,
    EVERY_RULE,
    GOOD_RULE,
    MaskedPhoto,
    chosen,
    coco_photos,
    manifest_photos,
)
from parity.photos import refuse_unusable, unusable_image
from parity.schema import UnusableImage


@dataclass(frozen=True)
class Subset:
    """Which images and segments to score.

    Attributes:
        images: folder of images, with a ``manifest.json`` unless ``coco`` is given.
        coco: COCO instances file.
        names: text file of image names, one a line; None takes all.
        max_images: the largest number of images; the first by name are taken.
        all_segments: also small, hidden and uncountable ones.
    """

    images: Path
    coco: Path | None = None
    names: Path | None = None
    max_images: int | None = None
    all_segments: bool = False

    @property
    def rule(self) -> str:
        """Which segments are scored, in words."""
        if self.coco is None:
            return EVERY_RULE if self.all_segments else GOOD_RULE
        return EVERY_COCO_RULE if self.all_segments else COCO_RULE

    def photos(self) -> list[MaskedPhoto]:
        """The photos with at least one segment to be scored.

        Raises:
            InputError: nothing is left to be scored, or folder or files cannot be used.
            MissingDependencyError: a COCO file is given and pycocotools is not installed.
        """
        if self.coco is None:
            photos = manifest_photos(self.images, every=self.all_segments)
        else:
            photos = coco_photos(self.images, self.coco, every=self.all_segments)
        if self.names is not None:
            photos = chosen(photos, read_names(self.names), self.names)
        photos = [photo for photo in photos if photo.count][: self.max_images]
        if not photos:
            more = "" if self.all_segments else "; --all-segments takes the others too"
            raise InputError(f"{self.images} has no mask to score among {self.rule}{more}")
        return photos


def usable(
    photos: Sequence[MaskedPhoto],
    image_size: int,
    *,
    skip_unusable: bool = False,
    step: Step = lambda _: None,
) -> tuple[list[MaskedPhoto], list[UnusableImage]]:
    """Photos that can be used, and those that cannot.

    Each is decoded here, and once more when it is asked about: a set of masks may hold thousands
    of photos, too many to keep decoded even on disk.

    Args:
        photos: with their masks.
        image_size: side of the frame that they must fit.
        skip_unusable: go on without photos that cannot be used, as long as one is left.
        step: called with each photo's name before it is decoded.

    Raises:
        InputError: photos or their masks cannot be used; all are named.
    """
    good, unusable = [], []
    for photo in photos:
        step(photo.file)
        try:
            size = load_image(photo.path).shape[:2]
            Frame(size, image_size)
            photo.targets(size)
        except (InputError, OSError) as error:
            unusable.append(unusable_image(photo.file, error))
        else:
            good.append(photo)
    refuse_unusable(unusable, len(photos), skip_unusable=skip_unusable)
    return good, unusable
