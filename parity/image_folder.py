"""The user's own images as cases, with human-made masks where a manifest describes them."""

from functools import partial
from pathlib import Path

from mobilesam.bundle.prompt_types import Subject
from mobilesam.data.image_files import image_files, require_folder
from mobilesam.data.masked_images import MANIFEST, ImageManifest, read_manifest
from mobilesam.inference.images import load_image
from parity.cases import PromptedPhoto, label_subject


def folder_photos(folder: Path) -> list[PromptedPhoto]:
    """Images of a folder, sorted by name; each pointed at in its largest good human-made mask.

    Without a ``manifest.json`` every image file of the folder is taken, and the prompts point at
    the middle.

    Raises:
        InputError: no such folder, no images in it, or a malformed manifest. Whether each photo can
            be used is found as it is read, see :mod:`parity.photos`.
    """
    require_folder(folder)
    if (folder / MANIFEST).is_file():
        return _described(folder, read_manifest(folder, require_files=False))
    return [
        PromptedPhoto(path.name, partial(load_image, path), Subject.middle, turn)
        for turn, path in enumerate(image_files(folder))
    ]


def _described(folder: Path, manifest: ImageManifest) -> list[PromptedPhoto]:
    photos = []
    for turn, entry in enumerate(sorted(manifest.images, key=lambda entry: entry.file)):
        path = folder / entry.file
        good = [segment for segment in entry.segments if segment.is_good]
        name = path.name
        if entry.mask is None or not good:
            photos.append(PromptedPhoto(name, partial(load_image, path), Subject.middle, turn))
            continue
        segment = max(good, key=lambda segment: segment.area)
        subject = partial(label_subject, folder / entry.mask, segment)
        photos.append(
            PromptedPhoto(f"{name} ({segment.category})", partial(load_image, path), subject, turn)
        )
    return photos
