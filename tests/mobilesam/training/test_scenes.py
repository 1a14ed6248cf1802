"""Synthetic scenes: reproducible, with true masks, of photos that may be used."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilesam.errors import InputError
from mobilesam.training import scenes, shapes
from mobilesam.training.config import Data
from mobilesam.training.library import load_library
from mobilesam.training.samples import Layer, Sample
from mobilesam.training.scenes import MIN_VISIBLE, SceneMaker
from tests.mobilesam.training.conftest import write_held_out, write_objects


@pytest.fixture(scope="module")
def maker(objects: Path, tmp_path_factory: pytest.TempPathFactory) -> SceneMaker:
    return maker_of(Data(masks=(objects,)), tmp_path_factory.mktemp("cache"))


def maker_of(data: Data, cache: Path) -> SceneMaker:
    return load_library(data, with_regions=False, cache=cache).scenes


def scene(maker: SceneMaker, seed: int, height: int = 64, width: int = 48) -> Sample:
    return maker.compose(np.random.default_rng(seed), height, width)


def test_same_seed_same_scene(maker: SceneMaker) -> None:
    for seed in range(5):
        first, again = scene(maker, seed), scene(maker, seed)
        assert np.array_equal(first.pixels, again.pixels)
        assert np.array_equal(first.layers[0].labels, again.layers[0].labels)
        assert first.layers[0].wanted == again.layers[0].wanted
        assert (first.pixels != scene(maker, seed + 1).pixels).any()


@pytest.mark.parametrize("size", [(64, 48), (40, 64), (16, 64)])
def test_a_scene_has_the_size_asked_for(maker: SceneMaker, size: tuple[int, int]) -> None:
    for seed in range(10):
        sample = scene(maker, seed, *size)
        (layer,) = sample.layers
        assert sample.pixels.shape == (*size, 3) and sample.pixels.dtype == np.uint8
        assert layer.labels.shape == size and layer.labels.dtype == np.int32
        assert set(layer.wanted) <= set(np.unique(layer.labels).tolist()) - {0}


def test_objects_that_are_mostly_hidden_are_not_asked_for(
    maker: SceneMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    paste, whole = scenes._paste, {}

    def spy(canvas, labels, piece, label, random) -> int:
        covered = paste(canvas, labels, piece, label, random)
        whole[label] = int((labels == label).sum())
        return covered

    monkeypatch.setattr(scenes, "_paste", spy)
    asked = left_out = 0
    for seed in range(60):
        whole.clear()
        (layer,) = scene(maker, seed).layers
        for label, area in whole.items():
            seen = int((layer.labels == label).sum())
            mostly_seen = area > 0 and seen >= MIN_VISIBLE * area
            assert (label in layer.wanted) == mostly_seen
            asked += mostly_seen
            left_out += not mostly_seen
    assert asked > 60 and left_out > 10


def test_objects_range_from_a_tenth_to_most_of_the_frame(maker: SceneMaker) -> None:
    spans = []
    for seed in range(120):
        (layer,) = scene(maker, seed, 64, 64).layers
        for label in layer.wanted:
            mask = layer.labels == label
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            spans.append(max(np.ptp(rows), np.ptp(columns)) / 64)
    assert np.mean(np.less(spans, 0.25)) > 0.15
    assert np.mean(np.greater(spans, 0.5)) > 0.15
    assert np.quantile(spans, 0.02) < 0.15 and np.quantile(spans, 0.98) > 0.8


def test_objects_are_cut_out_of_photos(maker: SceneMaker) -> None:
    assert len(maker.cutouts) == 3
    source, label = maker.cutouts[0]
    piece = source.cutout(label)
    assert piece.shape == (87, 87, 4)
    assert set(np.unique(piece[..., 3])) == {0, 255}
    assert 0.7 < (piece[..., 3] > 0).mean() < 0.85  # a disc fills pi / 4 of its box


def test_held_out_photos_are_never_used(tmp_path: Path) -> None:
    folder = write_objects(tmp_path / "some")
    held_out = write_held_out(folder, "1.png")
    maker = maker_of(Data(masks=(folder,), held_out=held_out), tmp_path)
    assert sorted(photo.path.name for photo in maker.photos) == ["0.png", "2.png"]
    assert len(maker.cutouts) == 2
    for seed in range(30):
        scene(maker, seed)  # reading the photo that is held out would fail


def test_without_cutouts(objects: Path, tmp_path: Path) -> None:
    maker = maker_of(Data(photos=(objects / "images",)), tmp_path)
    assert not maker.cutouts and len(maker.photos) == 3
    asked = [len(scene(maker, seed).layers[0].wanted) for seed in range(20)]
    assert min(asked) >= 1 and max(asked) >= 4


def write_rings(folder: Path, *colours: tuple[int, int, int]) -> Path:
    """Rings with a wide margin and something under it that is not to be seen, a file a colour."""
    folder.mkdir()
    rows, columns = np.mgrid[-40:40, -60:60]
    far = np.hypot(rows, columns)
    alpha = np.where((far > 15) & (far < 30), 255, 0)
    for number, colour in enumerate(colours):
        pixels = np.where(alpha[..., None] > 0, colour, 255 - np.array(colour))
        image = np.dstack([pixels, alpha]).astype(np.uint8)
        Image.fromarray(image).save(folder / f"{number}.png")
    return folder


def test_files_with_transparency_are_objects(objects: Path, tmp_path: Path) -> None:
    rings = write_rings(tmp_path / "rings", (250, 10, 10), (10, 10, 250))
    maker = maker_of(Data(photos=(objects / "images",), objects=(rings,)), tmp_path)
    assert not maker.cutouts and len(maker.objects) == 2
    red = maker.objects[0].pixels()
    assert red.shape == (59, 59, 4)
    assert (red[red[..., 3] > 0] == (250, 10, 10, 255)).all() and red[29, 29, 3] == 0
    only = SceneMaker(maker.photos, (), maker.objects[:1])
    for seed in range(40):
        piece = only._object(np.random.default_rng(seed), 50)
        if piece.shape[:2] == (50, 50):  # neither turned nor a made-up shape
            assert piece[25, 25, 3] == 0 and piece[25, 5, 3] > 0
            return
    raise AssertionError("no ring was drawn as it is")


def test_cut_outs_and_object_files_are_drawn_alike(objects: Path, tmp_path: Path) -> None:
    rings = write_rings(tmp_path / "rings", *[(250, 10, 10)] * 9)
    maker = maker_of(Data(masks=(objects,), objects=(rings,)), tmp_path)
    draws = [maker._cut_out(np.random.default_rng(seed)).shape[0] for seed in range(200)]
    assert 60 < draws.count(59) < 140 and draws.count(59) + draws.count(87) == 200


def test_object_files_may_be_held_out_and_must_be_transparent(
    objects: Path, tmp_path: Path
) -> None:
    rings = write_rings(tmp_path / "rings", (250, 10, 10), (10, 10, 250))
    held_out = tmp_path / "held_out.txt"
    held_out.write_text("1.png")
    data = Data(photos=(objects / "images",), objects=(rings,), held_out=held_out)
    assert [file.path.name for file in maker_of(data, tmp_path).objects] == ["0.png"]
    Image.open(rings / "0.png").convert("RGB").save(rings / "0.png")
    with pytest.raises(InputError, match=r"0\.png' has no transparency: data\.objects takes"):
        maker_of(data, tmp_path)


@pytest.mark.parametrize(
    ("alpha", "said"),
    [(255, "has no transparency"), (127, "has nothing that is not transparent")],
)
def test_object_files_without_an_object(
    objects: Path, tmp_path: Path, alpha: int, said: str
) -> None:
    rings = write_rings(tmp_path / "rings", (250, 10, 10))
    Image.new("RGBA", (40, 30), (9, 9, 9, alpha)).save(rings / "1.png")
    with pytest.raises(InputError, match=rf"1\.png' {said}"):
        maker_of(Data(photos=(objects / "images",), objects=(rings,)), tmp_path)


def test_object_files_are_read_as_photos_are(objects: Path, tmp_path: Path) -> None:
    rings = write_rings(tmp_path / "rings", (250, 10, 10))
    turned = Image.new("RGBA", (2000, 1000))
    turned.paste((9, 9, 9, 255), (100, 100, 1900, 500))
    (exif := Image.Exif())[274] = 6  # a quarter turn
    turned.save(rings / "1.png", exif=exif)
    data = Data(photos=(objects / "images",), objects=(rings,), longest_side=90)
    maker = maker_of(data, tmp_path)
    assert [file.pixels().shape for file in maker.objects] == [(59, 59, 4), (90, 20, 4)]
    cut = (rings / "1.png").read_bytes()
    (rings / "1.png").write_bytes(cut[: len(cut) // 2])
    with pytest.raises(InputError, match=r"1\.png' is truncated or damaged"):
        maker_of(data, tmp_path)


def test_objects_pasted_onto_a_photo_hide_its_masks(maker: SceneMaker) -> None:
    height, width = 96, 128
    labels = np.zeros((height, width), np.int32)
    labels[:, :64], labels[10:20, 100:110], labels[:, 64:70] = 1, 2, 5
    photo = Sample(
        np.full((height, width, 3), 90, np.uint8), (Layer(labels, {1: 3.0, 2: 3.0, 5: 1.0}),)
    )
    left_out = 0
    for seed in range(40):
        sample = maker.strewn(photo, np.random.default_rng(seed))
        before, pasted = sample.layers
        assert photo.layers[0].labels is labels and (photo.pixels == 90).all()
        assert not ((before.labels > 0) & (pasted.labels > 0)).any()
        untouched = pasted.labels == 0
        assert np.array_equal(before.labels[untouched], labels[untouched])
        assert (sample.pixels[pasted.labels > 0] != 90).any()
        assert 0 not in before.wanted and 1 <= pasted.labels.max() <= 4
        for label, weight in photo.layers[0].wanted.items():
            seen = (before.labels == label).sum() >= MIN_VISIBLE * (labels == label).sum()
            assert (before.wanted.get(label) == weight) == seen
            left_out += not seen
    assert left_out > 0


@pytest.mark.parametrize("pattern", [shapes._clouds, shapes._grain, shapes._stripes, shapes._tiles])
@pytest.mark.parametrize("size", [(48, 64), (4, 90), (90, 4)])
def test_patterns_fill_their_range(pattern, size: tuple[int, int]) -> None:
    spans = []
    for seed in range(12):
        first, again = (pattern(np.random.default_rng(seed), *size) for _ in range(2))
        assert first.shape == size and first.dtype == np.float32
        assert first.min() >= 0 and first.max() <= 1
        assert np.array_equal(first, again)
        spans.append(np.ptp(first))
    assert np.median(spans) > 0.3
