"""The manifest of photos with masks, and the label images it points to."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilesam.data.masked_images import Segment, read_labels, read_manifest, segment_mask
from mobilesam.errors import InputError
from tests.masked_folders import NAMES, SIZE, photo, write_masked


def test_a_manifest_and_its_masks_are_read(tmp_path: Path) -> None:
    folder = write_masked(tmp_path / "masked")
    described = json.loads((folder / "manifest.json").read_text())
    described["images"][1] |= {"sequence": "film", "licence": "CC0", "camera": "ignored"}
    (folder / "manifest.json").write_text(json.dumps(described))
    entries = read_manifest(folder).images
    assert [entry.file for entry in entries] == list(NAMES)
    assert [entry.sequence for entry in entries] == [None, "film", None]
    for seed, entry in enumerate(entries):
        assert entry.mask is not None
        for segment in entry.segments:
            path = folder / entry.mask
            mask = segment_mask(read_labels(path, SIZE), segment, path)
            assert mask.dtype == bool
            assert np.array_equal(mask, photo(seed)[1] == segment.label)
            x1, y1, x2, y2 = (round(value) for value in segment.box)
            assert mask[y1:y2, x1:x2].sum() == mask.sum() == segment.area
            assert mask[int(segment.point[1]), int(segment.point[0])]


GOOD = {
    "label": 1,
    "category": "cup",
    "thing": True,
    "area": 1024,
    "full_area": 1077,
    "bbox": [0, 0, 32, 32],
    "point": [16, 16],
}


@pytest.mark.parametrize(
    ("change", "good"),
    [({}, True), ({"thing": False}, False), ({"area": 1023}, False), ({"full_area": 1078}, False)],
)
def test_good_segments_are_things_large_and_not_hidden(change: dict, good: bool) -> None:
    assert Segment.model_validate(GOOD | change).is_good is good


@pytest.mark.parametrize("mode", ["L", "P", "I;16"])
def test_label_images_are_grey_palette_or_deep(mode: str, tmp_path: Path) -> None:
    labels = np.zeros((5, 7), np.uint16 if mode == "I;16" else np.uint8)
    labels[1:3, 2:6] = 300 if mode == "I;16" else 200
    image = Image.fromarray(labels)
    if mode == "P":
        image.putpalette([value for level in range(256) for value in (level, 255 - level, 7)])
    image.save(tmp_path / "labels.png")
    read = read_labels(tmp_path / "labels.png", (5, 7))
    assert np.array_equal(read, labels)
    segment = Segment.model_validate(GOOD | {"label": int(labels.max()), "point": [3, 2]})
    assert segment_mask(read, segment, tmp_path).sum() == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": 3}, r"labels\.png has no pixel of label 3"),
        ({"point": [1, 5]}, r"does not have label 1 at the point \(1, 5\)"),
        ({"point": [5, 40]}, r"at the point \(5, 40\) that the manifest gives it: a point is x, y"),
    ],
)
def test_segments_that_the_label_image_does_not_have(change: dict, message: str) -> None:
    labels = np.zeros((30, 40), np.uint8)
    labels[0:3, 4:9] = 1
    good = Segment.model_validate(GOOD | {"point": [5, 1]})
    assert segment_mask(labels, good, Path("labels.png")).sum() == 15
    with pytest.raises(InputError, match=message):
        segment_mask(labels, good.model_copy(update=change), Path("labels.png"))


def test_label_images_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "labels.png"
    with pytest.raises(InputError, match="labels.png cannot be read"):
        read_labels(path, (30, 40))
    path.write_bytes(b"no picture")
    with pytest.raises(InputError, match="labels.png cannot be read"):
        read_labels(path, (30, 40))
    Image.new("RGB", (40, 30)).save(path)
    with pytest.raises(InputError, match="has colours: one channel of labels is needed"):
        read_labels(path, (30, 40))
    Image.new("L", (40, 30)).save(path)
    with pytest.raises(InputError, match="is 40 x 30, but its image is 30 x 40"):
        read_labels(path, (40, 30))
    noise = np.random.default_rng(0).integers(0, 256, (30, 40), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(InputError, match="labels.png cannot be read"):
        read_labels(path, (30, 40))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "has no manifest.json"),
        ("{", "does not describe images: the file"),
        ('{"images": []}', "lists no images"),
        ('{"images": [{"mask": "m.png"}]}', r"images\.0\.file"),
        ('{"images": [{"file": "gone.png"}]}', "lists 'gone.png', which is not there"),
        ('{"images": [{"file": "a.png", "mask": "no.png"}]}', "lists 'no.png', which is not there"),
    ],
)
def test_manifests_that_cannot_be_used(content: str | None, message: str, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_manifest(tmp_path)


def test_a_file_is_no_folder_of_images(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="has no manifest.json"):
        read_manifest(tmp_path / "file")
