"""What the weights draw: for each built-in photo a click, a box, and the click's three answers."""

from collections.abc import Sequence

from mobilesam.data.sample_photos import PHOTOS, ShippedPhoto
from mobilesam.inference.drawing import data_uri, draw_answer, draw_masks
from mobilesam.inference.predictor import choose_mask
from mobilesam.inference.prompts import make_prompt
from mobilesam.inference.transforms import Frame
from mobilesam.progress import Step
from mobilesam.runtimes.base import Runner
from parity.photos import read_pixels
from parity.references import PhotoReference, masks_of
from parity.schema import GalleryPhoto, GalleryPicture

MAX_SIDE = 320
"""Longest side of a picture in pixels."""

FIRST_ANSWERS = 4
"""Number of photos of a run that :func:`first_answers` shows."""


def draw_gallery(runner: Runner, advance: Step = lambda _: None) -> list[GalleryPhoto]:
    """Every photo encoded once and asked twice: by its clicks, and by its box.

    Args:
        runner: opened; the reference, whose masks are those of the weights.
        advance: called with each photo's name before it is asked about.

    Raises:
        MissingDependencyError: scikit-image is not installed.
    """
    drawn = []
    for photo in PHOTOS:
        advance(photo.name)
        drawn.append(_draw(runner, photo))
    return drawn


def _draw(runner: Runner, photo: ShippedPhoto) -> GalleryPhoto:
    rgb = photo.load()
    size = rgb.shape[:2]
    frame = Frame(size, runner.image_size)
    embedding = runner.encode(rgb)
    prompts = (
        make_prompt(photo.clicks, [1] * len(photo.clicks), original_size=size),
        make_prompt(box=photo.box, original_size=size),
    )
    drawn: list[tuple[int, list[GalleryPicture]]] = []
    for prompt in prompts:
        answer = runner.decode(embedding, prompt, frame)
        pictures = [
            GalleryPicture(
                mask=channel,
                predicted_iou=float(answer.iou[channel]),
                picture=data_uri(draw_answer(rgb, prompt, mask, max_side=MAX_SIDE), quality=78),
            )
            for channel, mask in enumerate(masks_of(answer.low_res, frame))
        ]
        drawn.append((choose_mask(prompt, answer.iou), pictures))
    (by_click, of_click), (by_box, of_box) = drawn
    return GalleryPhoto(
        photo=photo.name,
        subject=photo.subject,
        clicks=len(photo.clicks),
        click=of_click[by_click],
        box=of_box[by_box],
        multimask=of_click[1:],
    )


def _is_strip(reference: PhotoReference) -> bool:
    sides = reference.cases[0].frame.original_size
    return max(sides) > 6 * min(sides)


def first_answers(references: Sequence[PhotoReference]) -> dict[str, str]:
    """The reference's four masks of the first prompt of a few photos, title to data URI.

    Strips are left out where there is anything else: they show nothing at the size of a picture.
    """
    pictures = {}
    drawn = [reference for reference in references if not _is_strip(reference)]
    for reference in (drawn or references)[:FIRST_ANSWERS]:
        pixels = read_pixels(reference.photo)
        if pixels is None:
            continue
        first = next(iter(reference.answers()))
        picture = draw_masks(pixels, first.case.prompt, first.masks)
        pictures[f"{first.case.image}, {first.case.name}"] = data_uri(picture)
    return pictures
