"""The photos of a run: decoded once, checked before anything slow begins, and kept on disk.

A photo's pixels are needed many times: by PyTorch, by every bundle, and for the pictures in the
report. They are written to a temporary folder as they are decoded (three bytes a pixel) and read
from there, so that hundreds of photos take no memory and a file that vanishes during the run is
not missed.
"""

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mobilesam.bundle.prompt_types import STRIP_PROMPTS, Share, Subject
from mobilesam.errors import InputError, reason_of
from mobilesam.inference.images import middle_strip
from mobilesam.progress import Step
from parity.cases import Case, PromptedPhoto, everyday_cases, further_cases
from parity.schema import UnusableImage

_LOG = logging.getLogger(__name__)

FEW = 5
"""Fewer photos than these, where others were left out, are called few."""


@dataclass(frozen=True)
class StoredPhoto:
    """A photo that was decoded and can be used.

    Attributes:
        name: in the report.
        pixels: reads the image from the temporary folder, HxWx3 uint8 RGB.
        cases: makes the photo's cases for a frame of side S and decoders of up to K slots;
            ``one_point`` comes first. Without slots only those that every photo has.
        store: decodes the photo's file once more, on whatever machine that is, and keeps it under
            the given path; None where there is no such file.
    """

    name: str
    pixels: Callable[[], np.ndarray]
    cases: Callable[[int, int | None], list[Case]]
    store: "Callable[[Path], StoredPhoto] | None" = None


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
    strips: bool = False,
    advance: Step = lambda _: None,
) -> Iterator[PhotoSet]:
    """Decode and check every photo; what is kept on disk goes when the block ends.

    Args:
        photos: of the run.
        image_sizes: sides of the frames that the photos must fit.
        skip_unusable: go on without photos that cannot be used, as long as one is left.
        strips: also cut a wide strip from the first photo and a tall one from the last that shows
            something: nearly all of their frames is padding.
        advance: called with each photo's name before it is decoded.

    Raises:
        InputError: photos, or label images that belong to them, cannot be used; all are named.
        OSError: the temporary folder cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="mobilesam-photos-") as folder:
        usable: list[tuple[PromptedPhoto, _Kept]] = []
        unusable: list[UnusableImage] = []
        for index, photo in enumerate(photos):
            advance(photo.name)
            try:
                pixels, subject = _checked(photo, image_sizes)
                usable.append((photo, _Kept.write(Path(folder) / str(index), pixels, subject)))
            except (InputError, OSError) as error:
                unusable.append(unusable_image(photo.name, error))
        refuse_unusable(unusable, len(photos), skip_unusable=skip_unusable)
        shares = [Share(index, len(usable)) for index in range(len(usable))]
        stored = [
            _stored(photo, share, kept) for share, (photo, kept) in zip(shares, usable, strict=True)
        ]
        if strips:
            stored += _strips(usable, Path(folder), image_sizes)
        yield PhotoSet(stored, unusable)


def require_usable(
    photos: Sequence[PromptedPhoto], image_sizes: Sequence[int], *, skip_unusable: bool = False
) -> None:
    """Check photos that are needed only later, after a long step; nothing is kept.

    Those that are left out are logged.

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
    log_unusable(unusable, len(photos) - len(unusable))


def _checked(photo: PromptedPhoto, image_sizes: Sequence[int]) -> tuple[np.ndarray, Subject]:
    """The photo decoded, and what to point at in it; its cases can be made in every frame."""
    pixels = photo.load()
    size = pixels.shape[:2]
    subject = photo.subject(size)
    for image_size in image_sizes:
        everyday_cases(photo.name, subject, size, image_size)
    return pixels, subject


def unusable_image(name: str, error: Exception) -> UnusableImage:
    """A photo with the reason why it cannot be used, in one line."""
    return UnusableImage(image=name, reason=reason_of(error))


def _listed(unusable: Sequence[UnusableImage]) -> str:
    return "; ".join(f"{each.image}: {each.reason}" for each in unusable)


def left_out(count: int, used: int) -> str:
    """Say how many photos cannot be used, and how many that leaves; empty where all can.

    Args:
        count: photos that cannot be used.
        used: photos that a run goes on with.
    """
    if not count:
        return ""
    few = " only, too few to tell much of others" if used < FEW else ""
    return f"{count} of {count + used} photos cannot be used, which leaves {used}{few}"


def log_unusable(unusable: Sequence[UnusableImage], used: int) -> None:
    """Say which photos were left out and why, where no report of the run does."""
    if unusable:
        _LOG.warning("%s; left out %s", left_out(len(unusable), used), _listed(unusable))


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
    which = _listed(unusable)
    photos = "photo" if total == 1 else "photos"
    if len(unusable) == total:
        raise InputError(f"none of {total} {photos} can be used: {which}")
    raise InputError(
        f"{len(unusable)} of {total} {photos} cannot be used: {which}. Mend or remove them, or go "
        "on without them with --skip-unusable"
    )


@dataclass(frozen=True)
class _Kept:
    """A photo in the temporary folder.

    Attributes:
        subject: what to point at, without its mask.
        size: H, W in pixels.
        mask_file: of the subject's mask, or None.
    """

    file: Path
    subject: Subject
    size: tuple[int, int]
    mask_file: Path | None

    @classmethod
    def write(cls, place: Path, pixels: np.ndarray, subject: Subject) -> "_Kept":
        file, mask_file = place.with_suffix(".npy"), place.with_suffix(".mask.npy")
        np.save(file, pixels)
        if subject.mask is None:
            return cls(file, subject, pixels.shape[:2], None)
        np.save(mask_file, np.packbits(subject.mask, axis=-1))
        return cls(file, replace(subject, mask=None), pixels.shape[:2], mask_file)

    def pixels(self) -> np.ndarray:
        array: np.ndarray = np.load(self.file)
        return array

    def masked_subject(self) -> Subject:
        if self.mask_file is None:
            return self.subject
        mask = np.unpackbits(np.load(self.mask_file), axis=-1, count=self.size[1]).view(np.bool_)
        return replace(self.subject, mask=mask)


def _stored(photo: PromptedPhoto, share: Share, kept: _Kept) -> StoredPhoto:
    cases = partial(_cases, photo, kept, share)
    return StoredPhoto(photo.name, kept.pixels, cases, partial(_store, photo, share))


def _store(photo: PromptedPhoto, share: Share, place: Path) -> StoredPhoto:
    """The photo decoded from its file and kept at a place."""
    pixels = photo.load()
    return _stored(photo, share, _Kept.write(place, pixels, photo.subject(pixels.shape[:2])))


def _cases(
    photo: PromptedPhoto, kept: _Kept, share: Share, image_size: int, slots: int | None
) -> list[Case]:
    subject = kept.masked_subject()
    made = everyday_cases(photo.name, subject, kept.size, image_size, photo.turn)
    if slots is not None:
        made += further_cases(photo.name, subject, kept.size, image_size, slots, share)
    return made


VARIED = 1.0
"""Standard deviation of a channel, of 255 levels, from which an image shows something."""

STRIP_NAMES = {"wide": "wide strip", "tall": "tall strip"}


def is_strip(name: str) -> bool:
    """Whether a photo of that name was cut from another by :func:`stored_photos`."""
    return name.endswith(tuple(f" ({strip})" for strip in STRIP_NAMES.values()))


def _strips(
    usable: Sequence[tuple[PromptedPhoto, _Kept]], folder: Path, image_sizes: Sequence[int]
) -> list[StoredPhoto]:
    """A wide strip from the middle of the first photo, and a tall one from that of the last.

    Of photos that are not of one colour all over: a strip of those has nothing to draw a mask of.
    """
    made = []
    for order, axis, kind in ((usable, 0, "wide"), (usable[::-1], 1, "tall")):
        strips = ((photo, middle_strip(kept.pixels(), axis)) for photo, kept in order)
        found = next((each for each in strips if each[1].std((0, 1)).max() >= VARIED), None)
        if found is None:
            continue
        photo, strip = found
        name = f"{photo.name} ({STRIP_NAMES[kind]})"
        size, subject = strip.shape[:2], Subject.middle(strip.shape[:2])
        try:
            for image_size in image_sizes:
                everyday_cases(name, subject, size, image_size)
        except InputError:  # of a photo that is a few pixels wide nothing is left to cut
            continue
        made.append(_stored_strip(name, photo, axis, strip, folder / kind))
    return made


def _stored_strip(
    name: str, photo: PromptedPhoto, axis: int, strip: np.ndarray, place: Path
) -> StoredPhoto:
    kept = _Kept.write(place, strip, Subject.middle(strip.shape[:2]))
    cases = partial(_strip_cases, name, kept)
    return StoredPhoto(name, kept.pixels, cases, partial(_store_strip, name, photo, axis))


def _store_strip(name: str, photo: PromptedPhoto, axis: int, place: Path) -> StoredPhoto:
    """The strip cut from the photo's file once more and kept at a place."""
    return _stored_strip(name, photo, axis, middle_strip(photo.load(), axis), place)


def _strip_cases(name: str, kept: _Kept, image_size: int, _slots: int | None) -> list[Case]:
    made = everyday_cases(name, kept.subject, kept.size, image_size)
    return [case for case in made if case.prompt_type in STRIP_PROMPTS]
