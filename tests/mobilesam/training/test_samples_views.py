"""Labels and pixels move together, whatever is done to a photo."""

import numpy as np
import pytest
from scipy.ndimage import maximum_filter, minimum_filter

from mobilesam.inference.transforms import Frame
from mobilesam.training.samples import Layer, Sample, choices, crop_and_resize, mirrored
from mobilesam.training.views import random_view

COLOURS = np.array([[20, 30, 40], [220, 60, 40], [50, 200, 70], [60, 80, 230], [230, 220, 90]])
SEEDS = range(40)


def coloured(height: int = 72, width: int = 96) -> Sample:
    """A photo whose colour says its label, without symmetry."""
    labels = np.zeros((height, width), np.int32)
    labels[5:40, 8:50] = 1
    labels[30:65, 40:90] = 2
    labels[2:22, 60:94] = 3
    labels[50:70, 3:30] = 4
    wanted = {1: 1.0, 2: 2.0, 3: 1.0, 4: 1.0}
    return Sample(COLOURS[labels].astype(np.uint8), (Layer(labels, wanted),))


def interior(labels: np.ndarray) -> np.ndarray:
    """Pixels that no other label, nor the edge of the view, is near to."""
    inside = {"size": 11, "mode": "constant", "cval": -1}
    return minimum_filter(labels, **inside) == maximum_filter(labels, **inside)


def view(sample: Sample, seed: int, **changes: float) -> Sample:
    settings = {"whole": 0.3, "smallest": 0.4, "min_share": 0.01} | changes
    return random_view(sample, np.random.default_rng(seed), 64, **settings)


@pytest.mark.parametrize("recolour", [False, True])
def test_labels_follow_pixels(monkeypatch: pytest.MonkeyPatch, recolour: bool) -> None:
    monkeypatch.setattr("mobilesam.training.views.worn", lambda pixels, *_: pixels)
    if not recolour:
        monkeypatch.setattr("mobilesam.training.views.recoloured", lambda pixels, *_: pixels)
    seen: set[int] = set()
    for seed in SEEDS:
        shown = view(coloured(), seed)
        labels = shown.layers[0].labels
        certain = interior(labels)
        for label in np.unique(labels[certain]):
            found = shown.pixels[certain & (labels == label)].astype(int)
            assert np.ptp(found, axis=0).max() <= 2  # of one colour, whatever the light
            if not recolour:
                assert np.abs(found - COLOURS[label]).max() <= 1
            seen.add(int(label))
    assert seen == set(range(5))


def test_views_fill_the_frame_on_their_longer_side() -> None:
    shapes = set()
    for seed in SEEDS:
        shown = view(coloured(), seed)
        layer = shown.layers[0]
        assert shown.pixels.dtype == np.uint8 and layer.labels.dtype == np.int32
        assert shown.pixels.shape == (*layer.labels.shape, 3)
        assert max(layer.labels.shape) == 64
        assert layer.wanted == coloured().layers[0].wanted
        shapes.add(layer.labels.shape)
    assert len(shapes) > 5
    whole = {view(coloured(), seed, whole=1.0).pixels.shape[:2] for seed in SEEDS}
    assert whole == {Frame((72, 96), 64).valid_size}


def test_same_seed_same_view() -> None:
    first, again, other = (view(coloured(), seed) for seed in (5, 5, 6))
    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(first.layers[0].labels, again.layers[0].labels)
    assert first.pixels.shape != other.pixels.shape or (first.pixels != other.pixels).any()


def test_crops_hold_a_wanted_mask() -> None:
    sample = coloured()
    labels = np.where(sample.layers[0].labels == 4, 4, 0).astype(np.int32)
    rare = Sample(sample.pixels, (Layer(labels, {4: 1.0}),))
    for seed in SEEDS:
        assert (view(rare, seed, whole=0.0, smallest=0.2).layers[0].labels == 4).any()


@pytest.mark.parametrize("shape", [(4, 6), (2, 90), (90, 3)])
def test_the_smallest_photos_can_be_viewed(shape: tuple[int, int]) -> None:
    tiny = Sample(np.zeros((*shape, 3), np.uint8), (Layer(np.ones(shape, np.int32), {1: 1.0}),))
    for seed in range(20):
        shown = view(tiny, seed, whole=0.0, smallest=0.05)
        assert max(shown.pixels.shape[:2]) == 64 and min(shown.pixels.shape[:2]) >= 1


def test_a_crop_of_the_same_size_is_a_slice() -> None:
    sample = coloured()
    part = crop_and_resize(sample, (10.0, 5.0, 58.0, 37.0), (32, 48))
    assert np.array_equal(part.pixels, sample.pixels[5:37, 10:58])
    assert np.array_equal(part.layers[0].labels, sample.layers[0].labels[5:37, 10:58])


def test_mirroring() -> None:
    sample = coloured()
    flipped = mirrored(sample)
    assert np.array_equal(flipped.pixels, sample.pixels[:, ::-1])
    assert np.array_equal(flipped.layers[0].labels, sample.layers[0].labels[:, ::-1])
    left = [int((view(sample, s, whole=1.0).layers[0].labels[:, :20] == 4).sum()) for s in SEEDS]
    assert 10 < sum(count > 0 for count in left) < 30  # half of the views are mirrored


def test_choices_respect_the_shares() -> None:
    labels = np.zeros((10, 100), np.int32)
    labels[:, 10:20] = 1  # a tenth
    labels[0, 30:35] = 2  # 0.5 %
    labels[:, 40:90] = 3  # a half
    wanted = {1: 3.0, 2: 1.0, 3: 1.0, 7: 1.0}
    other = Layer(np.ones((10, 100), np.int32), {1: 1.0})
    sample = Sample(
        np.zeros((10, 100, 3), np.uint8), (Layer(labels, {}), Layer(labels, wanted), other)
    )

    def offered(*shares: float) -> set[tuple[int, int, float]]:
        return {(c.layer, c.label, c.weight) for c in choices(sample, *shares)}

    assert offered(0.01) == {(1, 1, 3.0), (1, 3, 1.0)}
    assert offered(0.1, 0.5) == {(1, 1, 3.0), (1, 3, 1.0)}
    assert offered(0.11, 1.0) == {(1, 3, 1.0), (2, 1, 1.0)}
    assert offered(0.0, 0.4) == {(1, 1, 3.0), (1, 2, 1.0)}  # label 7 is not there
