"""COCO instances files: polygons, run lengths, crowds, and what is wrong with some of them."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from mobilesam.data.coco_masks import CocoImage, read_coco
from mobilesam.errors import InputError, MissingDependencyError
from tests.masked_folders import NAMES, SIZE, coco_file, compressed, photo, run_lengths


def write(folder: Path, content: dict) -> Path:
    path = folder / "instances.json"
    path.write_text(json.dumps(content))
    return path


def with_segmentation(folder: Path, *segmentations: object) -> CocoImage:
    """One image of 20 x 10 pixels with an object for each segmentation."""
    content = {
        "images": [{"id": 7, "file_name": "x.jpg", "height": 10, "width": 20, "license": 3}],
        "categories": [{"id": 1, "name": "cup", "supercategory": "kitchen"}],
        "annotations": [
            {
                "id": number,
                "image_id": 7,
                "category_id": 1,
                "segmentation": segmentation,
                "bbox": [2, 3, 8, 4],
                "area": 32.0,
                "iscrowd": 0,
            }
            for number, segmentation in enumerate(segmentations)
        ],
    }
    (image,) = read_coco(write(folder, content))
    return image


def test_images_objects_and_masks(tmp_path: Path) -> None:
    images = read_coco(write(tmp_path, coco_file()))
    assert [image.file for image in images] == list(NAMES)
    for seed, image in enumerate(images):
        assert image.size == SIZE
        assert [found.category for found in image.objects] == ["disc", "bar", "dot"]  # no crowd
        for label, found in enumerate(image.objects, start=1):
            mask = found.mask()
            assert mask.dtype == bool
            assert np.array_equal(mask, photo(seed)[1] == label)
            assert found.area == mask.sum()


def test_a_polygon_and_run_lengths_of_both_kinds_are_the_same_mask(tmp_path: Path) -> None:
    rectangle = np.zeros((10, 20), bool)
    rectangle[3:7, 2:10] = True
    polygon = [[2, 3, 10, 3, 10, 7, 2, 7]]
    lengths = {"size": [10, 20], "counts": run_lengths(rectangle)}
    image = with_segmentation(tmp_path, polygon, lengths, compressed(rectangle))
    assert len(image.objects) == 3
    for found in image.objects:
        assert np.array_equal(found.mask(), rectangle)


def test_ragged_masks_survive_compression(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for density in (0.02, 0.5, 0.98):
        mask = generator.random((10, 20)) < density
        mask[:, 10:] |= mask[:1, :10]  # runs of very different lengths
        found = with_segmentation(tmp_path, compressed(mask)).objects[0]
        assert np.array_equal(found.mask(), mask)


def test_an_object_of_several_polygons_is_their_union(tmp_path: Path) -> None:
    image = with_segmentation(tmp_path, [[2, 3, 6, 3, 6, 7, 2, 7], [12, 1, 18, 1, 18, 9, 12, 9]])
    mask = image.objects[0].mask()
    assert mask[3:7, 2:6].all() and mask[1:9, 12:18].all()
    assert mask.sum() == 4 * 4 + 8 * 6


def test_polygons_without_area_are_dropped(tmp_path: Path) -> None:
    good = [2, 3, 10, 3, 10, 7, 2, 7]
    image = with_segmentation(tmp_path, [[1, 1, 5, 5]], [[1, 1, 5, 5], good], [])
    (found,) = image.objects  # four numbers are two corners, not a box
    assert found.mask().sum() == 32


def test_an_image_may_have_no_objects(tmp_path: Path) -> None:
    assert with_segmentation(tmp_path).objects == ()


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ({"size": [20, 10], "counts": [200]}, "are of 10 x 20 pixels, but its image is 20 x 10"),
        ({"size": [10, 20], "counts": [3, 2, 100]}, "do not add up to 20 x 10 pixels"),
        ({"size": [10, 20], "counts": [3, -2, 199]}, "do not add up to 20 x 10 pixels"),
        ({"size": [10, 20], "counts": []}, "a cup's run lengths do not add up"),
        ({"size": [10, 20], "counts": "0000000"}, "a cup's run lengths do not add up"),
        ({"size": [10, 20], "counts": "hello world"}, "a cup's run lengths do not add up"),
        ({"size": [10, 20], "counts": [2**70]}, "a cup's run lengths do not add up"),
        ({"size": [10, 20], "counts": "o" * 20 + "0"}, "a cup's run lengths do not add up"),
    ],
)
def test_masks_that_cannot_be_decoded(segmentation: dict, message: str, tmp_path: Path) -> None:
    image = with_segmentation(tmp_path, segmentation)
    with pytest.raises(InputError, match=message):
        image.objects[0].mask()


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gone.json cannot be read"):
        read_coco(tmp_path / "gone.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_coco(tmp_path)
    with pytest.raises(InputError, match="is not a COCO instances file: images: field required"):
        read_coco(write(tmp_path, {"annotations": [], "categories": []}))
    with pytest.raises(InputError, match="is not a COCO instances file: the file: invalid JSON"):
        (tmp_path / "instances.json").write_text("[")
        read_coco(tmp_path / "instances.json")
    for key, what in (("image_id", "image"), ("category_id", "category")):
        content = coco_file()
        content["annotations"][4][key] = 99
        with pytest.raises(InputError, match=rf"annotations\.4 is of {what} 99, which is not list"):
            read_coco(write(tmp_path, content))


def test_without_pycocotools_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "mobilesam-export\[report\]"'):
        read_coco(write(tmp_path, coco_file()))
