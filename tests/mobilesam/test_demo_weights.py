"""The seeded weights: the same everywhere, every branch live, masks that depend on everything."""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage import data as photos

from mobilesam import Predictor, load_model
from mobilesam.checkpoints import tensors_sha256
from mobilesam.demo_weights import demo_state_dict
from mobilesam.prompts import Prompt, make_prompt

Weights = dict[str, torch.Tensor]
SIZE = 256
PHOTOS = {"astronaut": photos.astronaut, "coffee": photos.coffee, "chelsea": photos.chelsea}


@pytest.fixture(scope="module")
def weights() -> Weights:
    return demo_state_dict()


@pytest.fixture(scope="module")
def predictors() -> dict[str, Predictor]:
    """A predictor for each photo."""
    model = load_model("demo", image_size=SIZE)
    found = {name: Predictor(model) for name in PHOTOS}
    for name, predictor in found.items():
        predictor.set_image(PHOTOS[name]())
    return found


def click(predictor: Predictor, x: float, y: float, label: int = 1) -> Prompt:
    """One point, given as fractions of the photo's width and height."""
    height, width = predictor.frame.original_size
    return make_prompt(
        [[x * width, y * height]],
        [label],
        None,
        None,
        original_size=(height, width),
        low_res_size=SIZE // 4,
    )


def masks(predictor: Predictor, prompt: Prompt) -> np.ndarray:
    """The four masks at low resolution."""
    return predictor.decode(prompt)[0][0].numpy() > 0


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of each of the four masks."""
    return (a & b).sum((1, 2)) / (a | b).sum((1, 2))


def test_bit_exact(weights: Weights) -> None:
    expected = "59a43d97ccc7fe185921c6526f5b8ac0aa1ab368ef93d93c15b7aa29ce29c7dc"
    assert tensors_sha256(weights) == expected


def test_every_entry_is_live(weights: Weights) -> None:
    for name, tensor in weights.items():
        if not tensor.is_floating_point():
            continue
        assert torch.isfinite(tensor).all(), name
        assert tensor.std() > 0.01, f"{name} is constant"
        assert (tensor == 0).float().mean() < 0.01, f"{name} has zeros"
        if name.endswith("running_var") or re.search(r"bn\.weight$", name):
            assert tensor.min() > 0.5, name


def test_halves_lose_nothing(weights: Weights) -> None:
    for tensor in weights.values():
        torch.testing.assert_close(tensor.half().to(tensor.dtype), tensor, rtol=0, atol=0)


@pytest.mark.parametrize("photo", PHOTOS)
def test_masks_are_neither_empty_nor_full(predictors: dict[str, Predictor], photo: str) -> None:
    predictor = predictors[photo]
    for x, y in ((0.4, 0.45), (0.7, 0.3)):
        logits, predicted_iou = predictor.decode(click(predictor, x, y))
        area = (logits > 0).float().mean((0, 2, 3))
        assert area.min() > 0.05 and area.max() < 0.95
        assert 8 < logits.abs().max() < 40
        assert logits.std((2, 3)).min() > 1.5  # over space: more than an offset
        assert 0.2 < predicted_iou.min() and predicted_iou.max() < 1.1
        assert predicted_iou.std() > 0.02


@pytest.mark.parametrize(
    ("change", "least", "most"),
    [
        (lambda p: click(p, 0.4 + 8 / 1024, 0.45), 0.5, 0.99),
        (lambda p: click(p, 0.4 + 200 / 1024, 0.45), 0.0, 0.9),
        (lambda p: click(p, 0.45, 0.4), 0.0, 0.97),
        (lambda p: click(p, 0.4, 0.45, label=0), 0.0, 0.9),
        (
            lambda p: replace(
                click(p, 0.4, 0.45),
                mask_input=p.decode(click(p, 0.4, 0.45))[0][0, 0].numpy(),
            ),
            0.0,
            0.9,
        ),
    ],
    ids=["8 pixels", "200 pixels", "x and y swapped", "label swapped", "mask input"],
)
@pytest.mark.parametrize("photo", PHOTOS)
def test_every_part_of_the_prompt_matters(
    predictors: dict[str, Predictor],
    photo: str,
    change: Callable[[Predictor], Prompt],
    least: float,
    most: float,
) -> None:
    predictor = predictors[photo]
    agreement = iou(
        masks(predictor, click(predictor, 0.4, 0.45)), masks(predictor, change(predictor))
    )
    assert least <= agreement.mean() <= most


def test_photos_have_different_embeddings(predictors: dict[str, Predictor]) -> None:
    embeddings = [predictor.embedding.flatten() for predictor in predictors.values()]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert torch.cosine_similarity(embeddings[i], embeddings[j], dim=0) < 0.8
