"""What a training image is made of, and what it is never made of."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from mobilesam.errors import ImageError, InputError
from mobilesam.inference.transforms import normalized_input
from mobilesam.training import regions
from mobilesam.training.config import CocoSource, Data, SourceMix
from mobilesam.training.dataset import Batch, TrainingImages, collate
from mobilesam.training.library import Library, load_library
from mobilesam.training.samples import Layer, Sample
from tests.masked_folders import NAMES, coco_file, photo, write_masked
from tests.mobilesam.training.conftest import small_stage, write_held_out

EVERYTHING = SourceMix(masks=1, regions=1, scenes=1)


@pytest.fixture(scope="module")
def library(masked: Path, tmp_path_factory: pytest.TempPathFactory) -> Library:
    data = Data(masks=(masked,))
    return load_library(data, with_regions=True, cache=tmp_path_factory.mktemp("regions"))


def images(library: Library, seed: int = 0, number: int = 0, **changes: Any) -> TrainingImages:
    return TrainingImages(library, small_stage(sources=EVERYTHING, **changes), seed, number)


def shown(library: Library, sample: Sample, monkeypatch: pytest.MonkeyPatch, **stage: Any) -> Batch:
    """An item that shows a given sample."""
    monkeypatch.setattr("mobilesam.training.dataset.random_view", lambda *_, **__: sample)
    only = SourceMix(masks=1, scenes=0)
    return TrainingImages(library, small_stage(sources=only, **stage), 0, 0)[0]


def labelled(labels: np.ndarray, *wanted: int) -> Sample:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 255, (*labels.shape, 3)).astype(np.uint8)
    return Sample(pixels, (Layer(labels.astype(np.int32), dict.fromkeys(wanted, 1.0)),))


def same(first: Batch, second: Batch) -> bool:
    pairs = zip(vars(first).values(), vars(second).values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def test_an_item_depends_on_its_number_alone(library: Library) -> None:
    forwards = {i: images(library)[i] for i in range(6)}
    again = images(library)
    assert all(same(again[i], forwards[i]) for i in reversed(range(6)))
    for other in (images(library, seed=1), images(library, number=1)):
        assert not any(same(other[i], forwards[i]) for i in range(6))
    worker = DataLoader(images(library), batch_size=2, sampler=range(6), collate_fn=collate,
                        num_workers=1)  # fmt: skip
    for number, batch in enumerate(worker):
        expected = collate([forwards[2 * number], forwards[2 * number + 1]])
        assert same(batch, expected)


def test_shapes_and_ranges(library: Library) -> None:
    items = images(library, prompts=5)
    for number in range(24):
        item = items[number]
        assert item.images.shape == (1, 3, 64, 64) and item.images.dtype == torch.float32
        assert item.masks.shape == (1, 5, 16, 16) and item.masks.dtype == torch.uint8
        assert item.boxes.shape == (1, 5, 4) and item.valid.shape == (1, 16, 16)
        assert item.masks.flatten(2).any(dim=2).all() and int(item.masks.max()) == 1
        assert (item.masks <= item.valid[:, None]).all()
        rows, columns = item.valid[0].any(1), item.valid[0].any(0)
        assert rows.all() or columns.all()
        assert torch.equal(item.valid[0], (rows[:, None] & columns[None]).to(torch.uint8))
        padding = item.images[0, :, -1, -1]
        if not (rows.all() and columns.all()):
            assert (padding == 0).all()
        for mask, box in zip(item.masks[0], item.boxes[0], strict=True):
            x1, y1, x2, y2 = box.tolist()
            assert 0 <= x1 < x2 <= 64 and 0 <= y1 < y2 <= 64
            inside_rows, inside_columns = mask.any(1).nonzero(), mask.any(0).nonzero()
            assert 4 * int(inside_columns.min()) >= x1 - 3 and 4 * int(inside_rows.min()) >= y1 - 3
            assert 4 * int(inside_columns.max()) + 4 <= x2 + 3
            assert 4 * int(inside_rows.max()) + 4 <= y2 + 3


def test_boxes_masks_and_pixels_of_a_known_view(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.zeros((48, 64), int)
    labels[10:21, 5:30] = 1
    labels[32:48, 40:64] = 2
    sample = labelled(labels, 1, 2)
    item = shown(library, sample, monkeypatch, prompts=2)
    assert torch.equal(item.images, torch.from_numpy(normalized_input(sample.pixels, 64)))
    boxes = {tuple(box) for box in item.boxes[0].tolist()}
    assert boxes == {(5, 10, 30, 21), (40, 32, 64, 48)}
    for mask, box in zip(item.masks[0], item.boxes[0], strict=True):
        expected = torch.zeros(16, 16, dtype=torch.uint8)
        if box[0] == 5:
            expected[3:5, 1:8] = expected[2, 2:7] = 1  # half or more of these cells is mask
        else:
            expected[8:12, 10:16] = 1
        assert torch.equal(mask, expected)
    assert item.valid[0, :12].all() and not item.valid[0, 12:].any()


def test_thin_masks_keep_every_cell_they_touch(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.zeros((49, 64), int)
    labels[np.arange(40), np.arange(40)] = 1
    labels[48, 10:50] = 2  # in a row of cells that is mostly padding
    item = shown(library, labelled(labels, 1, 2), monkeypatch, prompts=2, min_share=0.0)
    diagonal, edge = sorted(item.masks[0], key=lambda mask: int(mask[12].sum()))
    assert torch.equal(diagonal.nonzero(), torch.arange(10)[:, None].repeat(1, 2))
    assert edge[12, 2:13].all() and int(edge.sum()) == 11
    assert (item.masks <= item.valid[:, None]).all()


def test_held_out_photos_are_never_read(tmp_path: Path) -> None:
    folder = write_masked(tmp_path / "masked")
    held_out = write_held_out(folder, "b.png")
    data = Data(masks=(folder,), photos=(folder,), held_out=held_out)
    found = load_library(data, with_regions=True, cache=tmp_path / "regions")
    assert len(found.masked) == 2 and len(found.regions) == 4
    items = images(found)
    for number in range(30):
        items[number]  # reading the photo that is held out would fail
    seen = load_library(data.model_copy(update={"held_out": None}), with_regions=False,
                        cache=tmp_path)  # fmt: skip
    with pytest.raises(ImageError):
        [source.sample() for group in seen.masked for source in group]


def test_coco_gives_the_same_masks(masked: Path, tmp_path: Path) -> None:
    listed = tmp_path / "instances.json"
    listed.write_text(json.dumps(coco_file()))
    source = CocoSource(annotations=listed, images=masked)
    coco = load_library(Data(coco=(source,)), with_regions=False, cache=tmp_path)
    manifest = load_library(Data(masks=(masked,)), with_regions=False, cache=tmp_path)
    assert len(coco.masked) == len(manifest.masked) == 3
    for (one,), (other,) in zip(coco.masked, manifest.masked, strict=True):
        layers, (layer,) = one.sample().layers, other.sample().layers
        assert np.array_equal(one.sample().pixels, other.sample().pixels)
        assert len(layers) == len(layer.wanted) == 3
        for found, label in zip(layers, layer.wanted, strict=True):
            assert np.array_equal(found.labels == 1, layer.labels == label)


def test_coco_photos_of_another_size_are_refused(tmp_path: Path) -> None:
    folder = write_masked(tmp_path / "masked")
    Image.fromarray(photo(0)[0][:50]).save(folder / NAMES[0])
    listed = tmp_path / "instances.json"
    listed.write_text(json.dumps(coco_file()))
    source = CocoSource(annotations=listed, images=folder)
    found = load_library(Data(coco=(source,)), with_regions=False, cache=tmp_path)
    with pytest.raises(InputError, match="is 96 x 50, but the COCO file says 96 x 72"):
        found.masked[0][0].sample()


def test_photos_are_reduced_on_reading(masked: Path, tmp_path: Path) -> None:
    data = Data(masks=(masked,), longest_side=64)
    (source,) = load_library(data, with_regions=False, cache=tmp_path).masked[0]
    sample = source.sample()
    assert sample.pixels.shape == (48, 64, 3) and sample.layers[0].labels.shape == (48, 64)
    assert 0.2 < (sample.layers[0].labels == 1).mean() < 0.24  # as in the photo: 1,500 of 6,912


def test_regions_are_computed_once(
    masked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Data(masks=(masked,), region_scales=(50.0, 200.0))
    first = load_library(data, with_regions=True, cache=tmp_path)
    stored = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(stored) == len(first.regions) == 3

    def again(*_: object) -> None:
        raise AssertionError("regions were computed again")

    monkeypatch.setattr(regions, "_segment", again)
    second = load_library(data, with_regions=True, cache=tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == stored
    for one, other in zip(first.regions, second.regions, strict=True):
        layers = one.sample().layers
        assert len(layers) == 2
        for layer, same_layer in zip(layers, other.sample().layers, strict=True):
            assert np.array_equal(layer.labels, same_layer.labels)
            assert set(layer.wanted) == set(np.unique(layer.labels).tolist())
    with pytest.raises(AssertionError, match="again"):
        other_scales = data.model_copy(update={"region_scales": (70.0,)})
        load_library(other_scales, with_regions=True, cache=tmp_path)


def test_frames_of_one_clip_count_as_one_photo(masked: Path, tmp_path: Path) -> None:
    folder = write_masked(tmp_path / "clips")
    manifest = json.loads((folder / "manifest.json").read_text())
    for entry in manifest["images"][:2]:
        entry["sequence"] = "clip"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    found = load_library(Data(masks=(folder,)), with_regions=False, cache=tmp_path)
    assert [len(group) for group in found.masked] == [2, 1]


@pytest.mark.parametrize(
    "mix", [SourceMix(masks=0, scenes=0), SourceMix(masks=0, regions=1, scenes=0)]
)
def test_a_stage_without_sources_is_refused(masked: Path, tmp_path: Path, mix: SourceMix) -> None:
    found = load_library(Data(masks=(masked,)), with_regions=False, cache=tmp_path)
    with pytest.raises(InputError, match="nothing to learn from"):
        TrainingImages(found, small_stage(sources=mix), 0, 0)
