"""What training draws from: photos with masks, photos, cut-out objects, regions."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mobilesam.data.coco_masks import read_coco
from mobilesam.data.image_files import image_files, named, read_names, require_folder
from mobilesam.data.masked_images import MANIFEST, read_manifest
from mobilesam.errors import InputError
from mobilesam.training.config import Data
from mobilesam.training.regions import region_photo
from mobilesam.training.scenes import SceneMaker
from mobilesam.training.sources import (
    CocoPhoto,
    LabelledPhoto,
    ObjectFile,
    RegionPhoto,
    Source,
    TrainingPhoto,
)

Track = Callable[[Sequence[TrainingPhoto], str], Iterable[TrainingPhoto]]


@dataclass(frozen=True)
class Library:
    """All sources of a configuration.

    Attributes:
        masked: photos with masks, in groups whose members are alike (frames of one clip); each
            group is drawn as often as any other.
        regions: photos with the regions of a classical segmentation, at several scales.
        scenes: composes synthetic scenes from the same photos and objects.
    """

    masked: Sequence[Sequence[Source]]
    regions: Sequence[RegionPhoto]
    scenes: SceneMaker


def load_library(
    data: Data,
    *,
    with_regions: bool,
    cache: Path,
    track: Track = lambda photos, what: photos,
) -> Library:
    """Find every image of a configuration, except those held out.

    Args:
        data: where they are.
        with_regions: whether to segment every photo into regions (about a second a photo, once).
        cache: folder in which regions are kept between runs.
        track: wraps a sequence to show progress.

    Raises:
        InputError: a folder or file that is missing or does not fit, a held-out name that no image
            has, or no image at all.
    """
    found = list(_everything(data))
    objects = [
        ObjectFile(path, data.longest_side)
        for folder in data.objects
        for path in image_files(folder, readable=True)
    ]
    if data.held_out is not None:
        files = (*(entry.file for entry in found), *(file.path.name for file in objects))
        listed = named(files, read_names(data.held_out), data.held_out)
        # By the last part: another folder may list the same photo under another path.
        hidden = {Path(file).name for file in listed}
        found = [entry for entry in found if entry.photo.path.name not in hidden]
        objects = [file for file in objects if file.path.name not in hidden]
    for file in objects:
        file.read()  # what cannot be used is refused now, not hours later
    if not found:
        raise InputError(
            "the configuration names no training images: give data.masks, data.coco or data.photos"
        )
    photos = [entry.photo for entry in found]
    groups: dict[str, list[Source]] = {}
    for entry in found:
        if entry.source is not None:
            groups.setdefault(entry.group, []).append(entry.source)
    cutouts = [
        (source, label)
        for group in groups.values()
        for source in group
        for label in source.cutouts()
    ]
    regions: list[RegionPhoto] = []
    if with_regions:
        tracked = track(photos, "finding regions")
        regions = [region_photo(photo, data.region_scales, cache) for photo in tracked]
    return Library(list(groups.values()), regions, SceneMaker(photos, cutouts, objects))


class _Found(NamedTuple):
    """A photo of the configuration, its masks if it has any, and the group they belong to.

    ``file`` is its name where it is listed.
    """

    file: str
    photo: TrainingPhoto
    source: Source | None = None
    group: str = ""


def _everything(data: Data) -> Iterator[_Found]:
    """Every photo that a configuration names, those held out too."""
    for folder in data.masks:
        for entry in read_manifest(folder).images:
            photo = TrainingPhoto(folder / entry.file, data.longest_side)
            if entry.mask is None or not entry.segments:
                yield _Found(entry.file, photo)
            else:
                source = LabelledPhoto(photo, folder / entry.mask, entry)
                yield _Found(entry.file, photo, source, entry.sequence or str(photo.path))
    for coco in data.coco:
        require_folder(coco.images)
        for image in read_coco(coco.annotations):
            photo = TrainingPhoto(coco.images / image.file, data.longest_side)
            if not photo.path.is_file():
                raise InputError(
                    f"{coco.annotations} lists '{image.file}', which is not in {coco.images}"
                )
            if image.objects:
                yield _Found(image.file, photo, CocoPhoto(photo, image), str(photo.path))
            else:
                yield _Found(image.file, photo)
    for folder in data.photos:
        for path in photo_paths(folder):
            yield _Found(path.name, TrainingPhoto(path, data.longest_side))


def photo_paths(folder: Path) -> list[Path]:
    """Image files of a folder, from its manifest if there is one, sorted.

    Raises InputError: no such folder, or no images in it.
    """
    require_folder(folder)
    if (folder / MANIFEST).is_file():
        return sorted(folder / entry.file for entry in read_manifest(folder).images)
    return image_files(folder, readable=True)
