"""What training draws from: photos with masks, photos, cut-out objects, regions."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from mobilesam.coco_masks import read_coco
from mobilesam.errors import InputError
from mobilesam.masked_images import MANIFEST, read_manifest
from training.config import Data
from training.regions import region_photo
from training.scenes import SceneMaker
from training.sources import CocoPhoto, LabelledPhoto, Photo, RegionPhoto, Source

Track = Callable[[Sequence[Photo], str], Iterable[Photo]]


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
        InputError: a folder or file that is missing or does not fit, or no image at all.
    """
    hidden = held_out_names(data.held_out)
    groups: dict[str, list[Source]] = {}
    photos: list[Photo] = []
    for folder in data.masks:
        for entry in read_manifest(folder).images:
            if Path(entry.file).name in hidden:
                continue
            photo = Photo(folder / entry.file, data.longest_side)
            photos.append(photo)
            if entry.mask is not None and entry.segments:
                source = LabelledPhoto(photo, folder / entry.mask, entry)
                groups.setdefault(entry.sequence or str(photo.path), []).append(source)
    for coco in data.coco:
        if not coco.images.is_dir():
            raise InputError(f"{coco.images} is not a folder of images")
        for image in read_coco(coco.annotations):
            if Path(image.file).name in hidden:
                continue
            photo = Photo(coco.images / image.file, data.longest_side)
            photos.append(photo)
            if image.objects:
                groups[str(photo.path)] = [CocoPhoto(photo, image)]
    for folder in data.photos:
        paths = [path for path in photo_paths(folder) if path.name not in hidden]
        photos += [Photo(path, data.longest_side) for path in paths]
    if not photos:
        raise InputError(
            "the configuration names no training images: give data.masks, data.coco or data.photos"
        )
    cutouts = [
        (source, label)
        for group in groups.values()
        for source in group
        for label in source.cutouts()
    ]
    regions: list[RegionPhoto] = []
    if with_regions:
        found = track(photos, "finding regions")
        regions = [region_photo(photo, data.region_scales, cache) for photo in found]
    return Library(list(groups.values()), regions, SceneMaker(photos, cutouts))


def held_out_names(path: Path | None) -> frozenset[str]:
    """Image names in a text file, one a line; '#' starts a comment.

    Raises InputError: the file cannot be read.
    """
    if path is None:
        return frozenset()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the list of held-out images '{path}' cannot be read ({error})") from None
    names = (line.partition("#")[0].strip() for line in lines)
    return frozenset(name for name in names if name)


def photo_paths(folder: Path) -> list[Path]:
    """Image files of a folder, from its manifest if there is one, sorted.

    Raises InputError: no such folder, or no images in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder of images")
    if (folder / MANIFEST).is_file():
        return sorted(folder / entry.file for entry in read_manifest(folder).images)
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    paths = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix.lower() in known)
    if not paths:
        raise InputError(f"{folder} has no image files in it")
    return paths
