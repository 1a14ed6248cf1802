"""The example photos: masks where they should be, licences named, nothing half written."""

import hashlib
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilesam.data.example_folder import (
    LICENCES,
    RECIPES,
    DrawnSegment,
    example_photos,
    write_examples,
)
from mobilesam.data.masked_images import read_labels, read_manifest, segment_mask
from mobilesam.errors import InputError
from mobilesam.training.config import DistillConfig, TrainConfig, load_config

SHOWN = {
    "coins.png": ["coin"] * 24,
    "coffee.png": ["cup", "spoon"],  # half of the saucer is hidden
    "chelsea.png": ["cat"],
    "astronaut.png": ["space shuttle (model)", "person", "helmet"],
    "rocket.jpg": ["rocket"],
    "camera.png": ["person", "video camera"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "examples"
    assert write_examples(out) == len(SHOWN)
    return out


def test_every_photo_has_its_masks(folder: Path) -> None:
    entries = read_manifest(folder).images
    assert {Path(entry.file).name for entry in entries} == set(SHOWN)
    for entry in entries:
        with Image.open(folder / entry.file) as picture:
            size = picture.height, picture.width
        assert entry.mask is not None
        labels = read_labels(folder / entry.mask, size)
        for segment in entry.segments:
            mask = segment_mask(labels, segment, folder / entry.mask)
            assert int(mask.sum()) == segment.area <= segment.full_area
        good = [segment.category for segment in entry.segments if segment.is_good]
        assert good == SHOWN[Path(entry.file).name]


def test_photos_are_scikit_images_own_files(folder: Path) -> None:
    shipped = files("skimage") / "data"
    for photo in example_photos():
        written = hashlib.sha256((folder / "images" / photo.file).read_bytes())
        assert written.digest() == hashlib.sha256((shipped / photo.file).read_bytes()).digest()
        assert f"- `images/{photo.file}`: {photo.source}; {photo.licence}" in (
            folder / LICENCES
        ).read_text("utf-8")


def test_masks_differ_from_what_surrounds_them(folder: Path) -> None:
    """The coins are brighter than the cloth they lie on, every one."""
    (entry,) = (e for e in read_manifest(folder).images if e.file.endswith("coins.png"))
    grey = np.asarray(Image.open(folder / entry.file)).astype(float)
    labels = np.asarray(Image.open(folder / str(entry.mask)))
    for segment in entry.segments:
        x, y, width, height = (int(value) for value in segment.bbox)
        part = np.s_[max(0, y - 4) : y + height + 4, max(0, x - 4) : x + width + 4]
        inside, around = labels[part] == segment.label, labels[part] == 0
        assert grey[part][inside].mean() > 1.5 * grey[part][around].mean()


def test_recipes_find_the_photos_beside_them(folder: Path) -> None:
    trained, distilled = (folder / name for name in RECIPES)
    (masks,) = load_config(trained, TrainConfig).data.masks
    (photos,) = load_config(distilled, DistillConfig).photos
    assert masks.resolve() == photos.resolve() == folder.resolve()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty"):
        write_examples(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_segment_is_the_union_of_its_shapes() -> None:
    shapes = DrawnSegment(
        category="two",
        ellipses=((2, 2, 2, 1),),
        polygons=((6.0, 0.0, 8.0, 0.0, 8.0, 4.0, 6.0, 4.0),),
    )
    mask = shapes.mask((5, 10))
    assert mask[2, :5].all() and mask[2, 6:9].all() and not mask[2, 5] and not mask[0, :5].any()
