"""The user's own images as cases, with human-made masks where a manifest describes them."""

from functools import partial
from pathlib import Path

from PIL import Image
from pydantic import BaseModel, ValidationError

from mobilesam.errors import InputError
from mobilesam.images import load_image
from parity.cases import Photo, Subject, label_subject, middle

MANIFEST = "manifest.json"
MIN_AREA = 1024
"""Pixels; smaller segments are too coarse to score."""
MIN_SHOWN = 0.95
"""Share of a segment's pixels that no nearer segment hides."""


class Segment(BaseModel):
    """One human-made mask: pixels of value ``label`` in the label image.

    ``bbox`` is x, y, width, height; ``point`` lies deep inside; ``full_area`` counts the pixels
    before nearer segments were painted over them.
    """

    label: int
    category: str
    thing: bool
    area: int
    full_area: int
    bbox: tuple[float, float, float, float]
    point: tuple[float, float]

    @property
    def is_good(self) -> bool:
        """A countable thing, large enough, and not hidden behind others."""
        whole = self.area >= MIN_SHOWN * self.full_area
        return self.thing and self.area >= MIN_AREA and whole


class Entry(BaseModel):
    """One image of a manifest, paths relative to it."""

    file: str
    mask: str | None = None
    segments: list[Segment] = []


class ImageManifest(BaseModel):
    """What ``manifest.json`` of an image folder says; other keys are ignored."""

    images: list[Entry]


def folder_photos(folder: Path) -> list[Photo]:
    """Images of a folder, sorted by name; each pointed at in its largest good human-made mask.

    Without a ``manifest.json`` every image file of the folder is taken, and the prompts point at
    the middle.

    Raises:
        InputError: no such folder, no images in it, or a manifest that does not fit.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder of images")
    manifest = folder / MANIFEST
    if manifest.is_file():
        return _described(folder, _read(manifest))
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    paths = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix.lower() in known)
    if not paths:
        raise InputError(f"{folder} has no image files in it")
    return [
        Photo(path.name, partial(load_image, path), middle, turn) for turn, path in enumerate(paths)
    ]


def _read(path: Path) -> ImageManifest:
    try:
        manifest = ImageManifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(f"{path} does not describe images: {place}: {first['msg']}") from None
    if not manifest.images:
        raise InputError(f"{path} lists no images")
    return manifest


def _described(folder: Path, manifest: ImageManifest) -> list[Photo]:
    photos = []
    for turn, entry in enumerate(sorted(manifest.images, key=lambda entry: entry.file)):
        path = folder / entry.file
        if not path.is_file():
            raise InputError(f"{folder / MANIFEST} lists '{entry.file}', which is not there")
        good = [segment for segment in entry.segments if segment.is_good]
        name = Path(entry.file).name
        if entry.mask is None or not good:
            photos.append(Photo(name, partial(load_image, path), middle, turn))
            continue
        segment = max(good, key=lambda segment: segment.area)
        subject = partial(_subject, folder / entry.mask, segment)
        photos.append(
            Photo(f"{name} ({segment.category})", partial(load_image, path), subject, turn)
        )
    return photos


def _subject(path: Path, segment: Segment, size: tuple[int, int]) -> Subject:
    try:
        subject = label_subject(path, segment.label, segment.bbox, segment.point)
    except OSError as error:
        raise InputError(f"the mask {path} cannot be read ({error})") from None
    assert subject.mask is not None
    if subject.mask.shape != size:
        raise InputError(
            f"the mask {path} is {subject.mask.shape[1]} x {subject.mask.shape[0]}, but its image "
            f"is {size[1]} x {size[0]}"
        )
    return subject
