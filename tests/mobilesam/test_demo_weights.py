"""The weights that come with the package: every branch live, and they segment what is clicked."""

import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from skimage import data as photos

from mobilesam import Predictor, load_model
from mobilesam.model.build import build
from mobilesam.weights.demo import DEMO_FILE
from mobilesam.weights.files import read_metadata

MAX_MB = 21


@pytest.fixture(scope="module")
def stored() -> dict[str, torch.Tensor]:
    return load_file(DEMO_FILE)


def test_small_halves_of_the_full_architecture(stored: dict[str, torch.Tensor]) -> None:
    assert DEMO_FILE.stat().st_size <= MAX_MB * 1e6
    wanted = {name: tensor.shape for name, tensor in build().state_dict().items()}
    assert {name: tensor.shape for name, tensor in stored.items()} == wanted
    kinds = {tensor.dtype for tensor in stored.values() if tensor.is_floating_point()}
    assert kinds == {torch.float16}


def test_the_file_and_its_card_say_what_it_is() -> None:
    about = read_metadata(DEMO_FILE)
    assert about["licence"] == "Apache-2.0"
    assert "not MobileSAM's own" in about["description"]
    card = (DEMO_FILE.parent / "README.md").read_text("utf-8")
    for part in ("## Data", "## Recipe", "## Figures", "not MobileSAM", "CC BY"):
        assert part in card


def test_no_branch_is_dead(stored: dict[str, torch.Tensor]) -> None:
    """A converter folds a branch away whose scale is zero or whose norm does nothing."""
    for name, tensor in stored.items():
        if not tensor.is_floating_point():
            continue
        assert torch.isfinite(tensor).all(), name
        assert tensor.float().std() > 0, f"{name} is constant"
        if name.endswith("running_var"):
            assert tensor.min() > 0, name
        if re.search(r"bn\.weight$", name):
            assert (tensor.abs() > 1e-3).float().mean() > 0.9, name


@pytest.mark.parametrize(
    ("photo", "box", "click"),
    [
        (photos.coffee, (170, 15, 412, 310), (290, 130)),
        (photos.chelsea, (70, 20, 390, 295), (220, 180)),
    ],
    ids=["coffee", "cat"],
)
def test_masks_are_about_what_was_asked(photo, box, click) -> None:
    """At the size the model is meant for; `mobilesam evaluate` measures how well."""
    predictor = Predictor(load_model())
    pixels = photo()
    predictor.set_image(pixels)
    x1, y1, x2, y2 = box
    mask = predictor.predict(box=box, multimask_output=False)[0][0]
    inside = np.zeros_like(mask)
    inside[y1:y2, x1:x2] = True
    assert (mask & inside).sum() > 0.3 * inside.sum()
    assert (mask & ~inside).sum() < 0.15 * mask.sum()
    masks, iou, _ = predictor.predict([click], [1])
    best = masks[int(np.argmax(iou))]
    assert best[click[1], click[0]], "the click lies in its own mask"
    assert 0.005 < best.mean() < 0.8
    assert 0 < iou.max() <= 1.1
