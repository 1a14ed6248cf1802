"""The photos of a run: decoded once, checked before anything slow begins, and kept on disk.

A photo's pixels are needed many times: by PyTorch, by every bundle, and for the pictures in the
report. They are written to a temporary folder as they are decoded (three bytes a pixel) and read
from there, so that hundreds of photos take no memory and a file that vanishes during the run is
not missed.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mobilesam.errors import InputError
from mobilesam.progress import Step
from parity.cases import Case, PromptedPhoto, Subject, cases_of
from parity.schema import UnusableImage


@dataclass(frozen=True)
class StoredPhoto:
    """A photo that was decoded and can be used.

    Attributes:
        name: in the report.
        pixels: reads the image from the temporary folder, HxWx3 uint8 RGB.
        cases: makes the photo's cases for a frame of that side; ``one_point`` comes first.
    """

    name: str
    pixels: Callable[[], np.ndarray]
    cases: Callable[[int], list[Case]]


UNREADABLE = (OSError, ValueError, EOFError)
"""What reading a photo from the temporary folder raises where its file was removed or cut."""


def read_pixels(photo: StoredPhoto) -> np.ndarray | None:
    """The photo, HxWx3 uint8 RGB; None where it is no longer in the temporary folder."""
    try:
        return photo.pixels()
    except UNREADABLE:
        return None


class PhotoSet(NamedTuple):
    """The photos that a run uses, and those that it does not."""

    photos: list[StoredPhoto]
    unusable: list[UnusableImage]


@contextmanager
def stored_photos(
    photos: Sequence[PromptedPhoto],
    image_sizes: Sequence[int],
    *,
    skip_unusable: bool = False,
    advance: Step = lambda _: None,
) -> Iterator[PhotoSet]:
    """Decode and check every photo; what is kept on disk goes when the block ends.

    Args:
        photos: of the run.
        image_sizes: sides of the frames that the photos must fit.
        skip_unusable: go on without photos that cannot be used, as long as one is left.
        advance: called with each photo's name before it is decoded.

    Raises:
        InputError: photos, or label images that belong to them, cannot be used; all are named.
        OSError: the temporary folder cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="mobilesam-photos-") as folder:
        stored: list[StoredPhoto] = []
        unusable: list[UnusableImage] = []
        for index, photo in enumerate(photos):
            advance(photo.name)
            try:
                pixels, subject = _checked(photo, image_sizes)
            except (InputError, OSError) as error:
                unusable.append(unusable_image(photo.name, error))
                continue
            stored.append(_stored(photo, pixels, subject, Path(folder) / str(index)))
        refuse_unusable(unusable, len(photos), skip_unusable=skip_unusable)
        yield PhotoSet(stored, unusable)


def require_usable(
    photos: Sequence[PromptedPhoto], image_sizes: Sequence[int], *, skip_unusable: bool = False
) -> None:
    """Check photos that are needed only later, after a long step; nothing is kept.

    Args:
        photos, image_sizes, skip_unusable: as of :func:`stored_photos`.

    Raises:
        InputError: photos, or label images that belong to them, cannot be used; all are named.
    """
    unusable = []
    for photo in photos:
        try:
            _checked(photo, image_sizes)
        except (InputError, OSError) as error:
            unusable.append(unusable_image(photo.name, error))
    refuse_unusable(unusable, len(photos), skip_unusable=skip_unusable)


def _checked(photo: PromptedPhoto, image_sizes: Sequence[int]) -> tuple[np.ndarray, Subject]:
    """The photo decoded, and what to point at in it; its cases can be made in every frame."""
    pixels = photo.load()
    size = pixels.shape[:2]
    subject = photo.subject(size)
    for image_size in image_sizes:
        cases_of(photo.name, subject, size, image_size, photo.turn)
    return pixels, subject


def unusable_image(name: str, error: Exception) -> UnusableImage:
    """A photo with the reason why it cannot be used, in one line."""
    reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return UnusableImage(image=name, reason=reason)


def refuse_unusable(unusable: Sequence[UnusableImage], total: int, *, skip_unusable: bool) -> None:
    """Stop where photos cannot be used, unless they are to be skipped and others are left.

    Args:
        unusable: photos that cannot be used.
        total: how many photos there are.
        skip_unusable: go on without them.

    Raises:
        InputError: which photos cannot be used, and why.
    """
    if not unusable or (skip_unusable and len(unusable) < total):
        return
    which = "; ".join(f"{each.image}: {each.reason}" for each in unusable)
    photos = "photo" if total == 1 else "photos"
    if len(unusable) == total:
        raise InputError(f"none of {total} {photos} can be used: {which}")
    raise InputError(
        f"{len(unusable)} of {total} {photos} cannot be used: {which}. Mend or remove them, or go "
        "on without them with --skip-unusable"
    )


def _stored(photo: PromptedPhoto, pixels: np.ndarray, subject: Subject, place: Path) -> StoredPhoto:
    file, mask_file = place.with_suffix(".npy"), place.with_suffix(".mask.npy")
    np.save(file, pixels)
    if subject.mask is not None:
        np.save(mask_file, np.packbits(subject.mask, axis=-1))
    make = partial(
        _cases,
        photo,
        replace(subject, mask=None),
        pixels.shape[:2],
        mask_file if subject.mask is not None else None,
    )
    return StoredPhoto(photo.name, partial(np.load, file), make)


def _cases(
    photo: PromptedPhoto,
    subject: Subject,
    size: tuple[int, int],
    mask_file: Path | None,
    image_size: int,
) -> list[Case]:
    if mask_file is not None:
        mask = np.unpackbits(np.load(mask_file), axis=-1, count=size[1]).view(np.bool_)
        subject = replace(subject, mask=mask)
    return cases_of(photo.name, subject, size, image_size, photo.turn)
