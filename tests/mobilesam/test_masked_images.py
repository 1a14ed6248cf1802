"""The manifest of photos with masks, and the label images it points to."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilesam.errors import InputError
from mobilesam.masked_images import Segment, label_mask, read_labels, read_manifest
from tests.masked_folders import NAMES, SIZE, photo, write_masked


def test_a_manifest_and_its_masks_are_read(tmp_path: Path) -> None:
    folder = write_masked(tmp_path / "masked")
    described = json.loads((folder / "manifest.json").read_text())
    described["images"][1] |= {"sequence": "film", "licence": "CC0", "camera": "ignored"}
    (folder / "manifest.json").write_text(json.dumps(described))
    entries = read_manifest(folder).images
    assert [entry.file for entry in entries] == list(NAMES)
    assert [entry.sequence for entry in entries] == [None, "film", None]
    assert entries[1].licence == "CC0"
    for seed, entry in enumerate(entries):
        assert entry.mask is not None
        for segment in entry.segments:
            mask = label_mask(folder / entry.mask, segment.label, SIZE)
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
    assert np.array_equal(read_labels(tmp_path / "labels.png"), labels)
    assert label_mask(tmp_path / "labels.png", int(labels.max())).sum() == 8


def test_label_images_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "labels.png"
    with pytest.raises(InputError, match="labels.png cannot be read"):
        read_labels(path)
    path.write_bytes(b"no picture")
    with pytest.raises(InputError, match="labels.png cannot be read"):
        read_labels(path)
    Image.new("RGB", (40, 30)).save(path)
    with pytest.raises(InputError, match="has colours: one channel of labels is needed"):
        label_mask(path, 1)
    Image.new("L", (40, 30)).save(path)
    with pytest.raises(InputError, match="is 40 x 30, but its image is 30 x 40"):
        label_mask(path, 1, (40, 30))
    noise = np.random.default_rng(0).integers(0, 256, (30, 40), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(InputError, match="labels.png cannot be read"):
        label_mask(path, 1)


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
