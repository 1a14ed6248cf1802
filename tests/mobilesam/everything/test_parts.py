"""The parts of segment everything, each by itself."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mobilesam.errors import InputError
from mobilesam.everything import rle
from mobilesam.everything.candidates import box_of
from mobilesam.everything.crops import Crop, crops_of, cut_off
from mobilesam.everything.nms import best_boxes
from mobilesam.everything.regions import without_small_regions
from mobilesam.everything.upscaling import Upscaling
from mobilesam.inference.transforms import Frame, upscale_logits
from tests.upstream.generator import opencv_stood_in
from tests.upstream.oracle import import_upstream

masks = arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)))
SIZES = [(60, 97), (150, 80), (200, 310), (128, 128), (3, 128), (500, 41), (1, 30), (127, 128)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.7])
def test_a_window_is_what_upscaling_gives_there(size: tuple[int, int], threshold: float) -> None:
    frame = Frame(size, 128)
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(32, 32, generator=generator) - 1.5
    logits[:, 20:] = -3.0  # some of the photo holds nothing
    whole = upscale_logits(logits[None, None], frame)[0, 0].numpy()
    upscaling = Upscaling(frame, 32)
    window = upscaling.window(logits, threshold)
    if window is None:
        assert (whole <= threshold).all()
        return
    rows, columns = slice(*window.rows), slice(*window.columns)
    np.testing.assert_allclose(
        upscaling.columns_first(window).T, whole[rows, columns], rtol=1e-5, atol=1e-5
    )
    outside = np.ones(size, bool)
    outside[rows, columns] = False
    assert (whole[outside] <= threshold + 1e-5).all()


@pytest.mark.parametrize("size", SIZES)
def test_logits_that_are_not_needed_change_nothing(size: tuple[int, int]) -> None:
    frame = Frame(size, 128)
    logits = torch.randn(32, 32, generator=torch.Generator().manual_seed(1)) - 1.5
    upscaling = Upscaling(frame, 32)
    height, width = upscaling.needed
    window = upscaling.window(logits[:height, :width], 0.0)
    assert window is not None
    part = upscaling.columns_first(window).T
    whole = upscale_logits(logits[None, None], frame)[0, 0].numpy()
    np.testing.assert_allclose(
        part, whole[slice(*window.rows), slice(*window.columns)], rtol=1e-5, atol=1e-5
    )
    # No more of the frame's padding than what the last pixels are blended with.
    assert height <= -(-frame.valid_size[0] // 4) + 2 and width <= -(-frame.valid_size[1] // 4) + 2


def test_logits_below_the_threshold_have_no_window() -> None:
    upscaling = Upscaling(Frame((60, 97), 128), 32)
    assert upscaling.window(torch.full((32, 32), -1.0), -1.0) is None
    # Logits in the padding alone do not reach the photo.
    padding = torch.full((32, 32), -1.0)
    padding[25:] = 5.0
    assert upscaling.window(padding, 0.0) is None


@given(masks)
def test_run_lengths_come_back(mask: np.ndarray) -> None:
    counts = rle.encoded(mask)
    assert (rle.decoded(counts, mask.shape) == mask).all()
    assert rle.area(counts) == mask.sum()
    theirs = import_upstream().utils.amg.mask_to_rle_pytorch(torch.from_numpy(mask)[None])
    assert rle.uncompressed(counts, mask.shape) == theirs[0]


@given(masks, st.integers(0, 12))
def test_small_regions_go_as_upstream_s(mask: np.ndarray, least: int) -> None:
    remove = import_upstream().utils.amg.remove_small_regions
    before = mask.copy()
    with opencv_stood_in():
        theirs, filled = remove(mask, least, mode="holes")
        theirs, removed = remove(theirs, least, mode="islands")
    ours = without_small_regions(mask, least)
    assert (ours == theirs).all()
    assert (ours is mask) == (not filled and not removed)
    assert (mask == before).all()


@given(masks)
def test_a_box_holds_its_mask(mask: np.ndarray) -> None:
    theirs = import_upstream().utils.amg.batched_mask_to_box(torch.from_numpy(mask)[None])[0]
    assert list(box_of(mask)) == theirs.tolist()


@given(
    arrays(np.int64, st.tuples(st.integers(1, 12), st.just(4)), elements=st.integers(0, 9)),
    st.sampled_from([0.0, 0.3, 0.7, 1.0]),
    st.integers(0, 99),
)
def test_the_best_boxes_are_upstream_s(boxes: np.ndarray, threshold: float, seed: int) -> None:
    boxes = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:] + 1], axis=1)
    scores = np.random.default_rng(seed).integers(0, 4, len(boxes)) / 4  # some are equal
    nms = import_upstream().automatic_mask_generator.batched_nms
    classes = torch.zeros(len(boxes))
    theirs = nms(torch.from_numpy(boxes).float(), torch.from_numpy(scores), classes, threshold)
    assert best_boxes(boxes, scores, threshold).tolist() == theirs.tolist()


def test_boxes_without_area_stay() -> None:
    boxes = np.zeros((3, 4), np.int64)
    assert best_boxes(boxes, np.ones(3), 0.7).tolist() == [0, 1, 2]


@pytest.mark.parametrize("size", [(100, 150), (333, 77), (64, 64)])
@pytest.mark.parametrize("layers", [0, 1, 3])
@pytest.mark.parametrize("ratio", [0.0, 512 / 1500, 0.9])
def test_crops_are_upstream_s(size: tuple[int, int], layers: int, ratio: float) -> None:
    boxes, numbers = import_upstream().utils.amg.generate_crop_boxes(size, layers, ratio)
    ours = crops_of(size, layers, ratio)
    assert [list(crop.box) for crop in ours] == boxes
    assert [crop.layer for crop in ours] == numbers


def test_a_mask_at_a_crop_s_own_edge_is_cut_off() -> None:
    crop = Crop(0, 0, 100, 100, 1)
    boxes = np.array([[2, 2, 50, 50], [2, 2, 85, 50], [30, 30, 60, 60]], np.int64)
    near = import_upstream().utils.amg.is_box_near_crop_edge
    wanted = near(torch.from_numpy(boxes), list(crop.box), [0, 0, 200, 100])
    assert cut_off(boxes, crop, (100, 200)).tolist() == wanted.tolist() == [False, True, False]


def test_crops_have_at_least_two_pixels_a_side() -> None:
    narrowest = min(min(c.x2 - c.x1, c.y2 - c.y1) for c in crops_of((64, 96), 5, 0.0))
    assert narrowest == 2
    with pytest.raises(InputError, match="photo of 96 x 64 pixels can be cut .* at most 5 times"):
        crops_of((64, 96), 6, 0.0)
