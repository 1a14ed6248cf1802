"""The predictor keeps SAM's habits, at any image size."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mobilesam import Predictor, load_model
from mobilesam.errors import ImageNotSetError, InputError, PromptError
from mobilesam.inference.predictor import choose_mask
from mobilesam.inference.prompts import make_prompt
from mobilesam.model.build import build
from mobilesam.model.sam import MobileSAM

SIZE = 128


@pytest.fixture(scope="module")
def model() -> MobileSAM:
    return load_model("demo", image_size=SIZE)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (90, 60, 3), dtype=np.uint8)


@pytest.fixture
def predictor(model: MobileSAM, image: np.ndarray) -> Predictor:
    ready = Predictor(model)
    ready.set_image(image)
    return ready


def test_the_model_is_frozen_and_in_eval_mode(model: MobileSAM) -> None:
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert model.weights is not None and model.weights.name == "demo"


@pytest.mark.parametrize("image_size", [64, 192, 320])
def test_the_grid_follows_the_image_size(image_size: int) -> None:
    model = build(image_size=image_size)
    embedding = model.image_encoder(torch.zeros(2, 3, image_size, image_size))
    assert embedding.shape == (2, 256, image_size // 16, image_size // 16)
    assert model.low_res_size == image_size // 4


@pytest.mark.parametrize("image_size", [0, 100, 1000])
def test_an_unusable_image_size_is_refused(image_size: int) -> None:
    with pytest.raises(InputError, match="multiple of 16"):
        build(image_size=image_size)


def test_an_unknown_variant_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'vit_t'"):
        load_model(variant="vit-t")


@pytest.mark.parametrize(("multimask", "channels"), [(True, 3), (False, 1)])
def test_shapes_and_dtypes(predictor: Predictor, multimask: bool, channels: int) -> None:
    masks, iou, low_res = predictor.predict([[30, 40]], [1], multimask_output=multimask)
    assert masks.shape == (channels, 90, 60) and masks.dtype == np.bool_
    assert iou.shape == (channels,) and iou.dtype == np.float32
    assert low_res.shape == (channels, SIZE // 4, SIZE // 4) and low_res.dtype == np.float32


def test_logits_threshold_to_masks(predictor: Predictor) -> None:
    masks, _, _ = predictor.predict(box=[5, 5, 50, 80])
    logits, _, _ = predictor.predict(box=[5, 5, 50, 80], return_logits=True)
    assert np.array_equal(logits > 0, masks)


def test_a_batch_equals_one_at_a_time(predictor: Predictor) -> None:
    coords = np.array([[[30, 40], [10, 10]], [[5, 80], [50, 20]]], np.float32)
    labels = np.array([[1, 0], [1, 1]], np.float32)
    boxes = np.array([[0, 0, 40, 50], [10, 20, 60, 90]], np.float32)
    frame = predictor.frame
    _, iou, low_res = predictor.predict_torch(
        torch.from_numpy(frame.coords_to_frame(coords)),
        torch.from_numpy(labels),
        torch.from_numpy(frame.boxes_to_frame(boxes)),
    )
    for index in range(2):
        _, one_iou, one_low_res = predictor.predict(coords[index], labels[index], boxes[index])
        np.testing.assert_allclose(low_res[index], one_low_res, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(iou[index], one_iou, rtol=1e-5, atol=1e-5)


def test_a_batch_needs_matching_sizes(predictor: Predictor) -> None:
    with pytest.raises(PromptError, match="same first dimension"):
        predictor.predict_torch(torch.zeros(2, 1, 2), torch.ones(2, 1), torch.zeros(3, 4))
    with pytest.raises(PromptError, match="together"):
        predictor.predict_torch(torch.zeros(2, 1, 2), None)
    with pytest.raises(PromptError, match="no prompt"):
        predictor.predict_torch(None, None)
    with pytest.raises(PromptError, match="mask_input must be Bx1x32x32, not 1x32x32"):
        predictor.predict_torch(None, None, mask_input=torch.zeros(1, 32, 32))
    with pytest.raises(PromptError, match="same number of points"):
        predictor.predict_torch(torch.zeros(1, 2, 2), torch.ones(1, 1))


def test_predict_needs_an_image(model: MobileSAM, predictor: Predictor) -> None:
    with pytest.raises(ImageNotSetError, match="call set_image first"):
        Predictor(model).predict([[1, 1]], [1])
    predictor.reset_image()
    assert not predictor.is_image_set
    with pytest.raises(RuntimeError):
        predictor.predict([[1, 1]], [1])


def test_an_embedding_comes_back_from_disk(
    model: MobileSAM, predictor: Predictor, tmp_path: Path
) -> None:
    path = tmp_path / "photo.embedding.safetensors"
    predictor.save_embedding(path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    other = Predictor(model)
    other.load_embedding(path)
    for mine, theirs in zip(
        predictor.predict([[30, 40]], [1]), other.predict([[30, 40]], [1]), strict=True
    ):
        assert np.array_equal(mine, theirs)


def test_a_foreign_embedding_is_refused(predictor: Predictor, tmp_path: Path) -> None:
    path = tmp_path / "embedding.safetensors"
    with pytest.raises(InputError, match="not found"):
        predictor.load_embedding(path)
    predictor.save_embedding(path)
    with pytest.raises(InputError, match="other weights or another image size"):
        Predictor(load_model("demo", image_size=64)).load_embedding(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="is not an embedding"):
        predictor.load_embedding(path)


def test_an_embedding_of_another_grid_is_refused(predictor: Predictor) -> None:
    with pytest.raises(InputError, match="1x256x8x8, not 1x256x9x9"):
        predictor.set_embedding(torch.zeros(1, 256, 9, 9), predictor.frame)


def test_the_choice_of_mask() -> None:
    iou = np.array([0.9, 0.1, 0.3, 0.2], np.float32)
    click = make_prompt([[1, 1]], [1], original_size=(9, 9))
    box = make_prompt(box=[1, 1, 5, 5], original_size=(9, 9))
    assert choose_mask(click, iou) == 2
    assert choose_mask(box, iou) == 0
