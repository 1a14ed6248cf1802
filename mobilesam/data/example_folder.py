"""A small folder of photos with masks, for whoever has none of their own at hand.

The photos are files of scikit-image's wheel that anyone may use; their outlines are drawn by hand
and lie in ``examples/photos.toml`` as ellipses and polygons.
"""

import tomllib
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from pydantic import BaseModel, ConfigDict

from mobilesam.data.masked_images import MANIFEST, Bools, ImageEntry, ImageManifest, Segment
from mobilesam.data.sample_photos import data_folder
from mobilesam.files import new_folder

RECIPES = "train.toml", "distill.toml"
"""Small runs of `mobilesam train` and `mobilesam distill` on the folder, written into it."""

LICENCES = "LICENCES.md"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DrawnSegment(_Strict):
    """An outline.

    Attributes:
        category: what it is, in words.
        ellipses: centre x, y and half axes x, y, in pixels.
        polygons: corners x, y, x, y, ... in pixels.
    """

    category: str
    ellipses: tuple[tuple[float, float, float, float], ...] = ()
    polygons: tuple[tuple[float, ...], ...] = ()

    def mask(self, size: tuple[int, int]) -> Bools:
        """Everything inside, as [H, W] bool for a photo of that (H, W)."""
        height, width = size
        picture = Image.new("1", (width, height))
        for polygon in self.polygons:
            ImageDraw.Draw(picture).polygon(polygon, fill=1)
        mask = np.array(picture)
        rows, columns = np.mgrid[:height, :width]
        for x, y, half_x, half_y in self.ellipses:
            mask |= ((columns - x) / half_x) ** 2 + ((rows - y) / half_y) ** 2 <= 1
        return mask


class ExamplePhoto(_Strict):
    """A photo and what is seen in it, the farthest first.

    Attributes:
        file: in scikit-image's data folder.
        source: who took it, and of what.
        licence: why anyone may use it.
    """

    file: str
    source: str
    licence: str
    segments: tuple[DrawnSegment, ...]


def example_photos() -> list[ExamplePhoto]:
    """The example photos with their outlines."""
    text = (files(__package__) / "examples" / "photos.toml").read_text("utf-8")
    return [ExamplePhoto.model_validate(photo) for photo in tomllib.loads(text)["photos"]]


def write_examples(out: Path) -> int:
    """Write the example photos with label images, manifest, licences and recipes: all, or nothing.

    Args:
        out: a folder that is not there yet, or is empty.

    Returns:
        How many photos there are.

    Raises:
        InputError: there is something in the folder already.
        MissingDependencyError: scikit-image or SciPy is not installed.
    """
    photos = example_photos()
    with new_folder(out) as made:
        for part in ("images", "masks"):
            (made / part).mkdir()
        entries = [_write(photo, made) for photo in photos]
        manifest = ImageManifest(images=entries).model_dump_json(indent=1)
        (made / MANIFEST).write_text(manifest + "\n", "utf-8")
        (made / LICENCES).write_text(_licences(photos), "utf-8")
        for recipe in RECIPES:
            text = (files(__package__) / "examples" / recipe).read_text("utf-8")
            (made / recipe).write_text(text, "utf-8")
    return len(photos)


def _write(photo: ExamplePhoto, out: Path) -> ImageEntry:
    image, mask = f"images/{photo.file}", f"masks/{Path(photo.file).stem}.png"
    (out / image).write_bytes((data_folder() / photo.file).read_bytes())
    with Image.open(out / image) as picture:
        size = picture.height, picture.width
    labels = np.zeros(size, np.uint8)
    drawn = [segment.mask(size) for segment in photo.segments]
    for label, shape in enumerate(drawn, start=1):
        labels[shape] = label
    Image.fromarray(labels).save(out / mask)
    segments = [
        Segment.of(labels == label, label, segment.category, full_area=int(shape.sum()))
        for label, (segment, shape) in enumerate(zip(photo.segments, drawn, strict=True), start=1)
    ]
    return ImageEntry(file=image, mask=mask, segments=segments)


def _licences(photos: list[ExamplePhoto]) -> str:
    rows = "".join(f"- `images/{p.file}`: {p.source}; {p.licence}\n" for p in photos)
    return (
        "# Where the photos come from\n\n"
        "The photos are those that scikit-image ships (`skimage.data`, https://scikit-image.org):"
        "\n\n"
        f"{rows}\nThe masks were drawn for mobilesam-export and are under Apache-2.0, as it is.\n"
    )
