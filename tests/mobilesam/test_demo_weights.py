"""The weights that come with the package: every branch live, and they segment what is clicked."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from skimage import data as photos

from mobilesam import Predictor, load_model
from mobilesam.data.image_files import read_names
from mobilesam.data.masked_images import read_manifest
from mobilesam.model.build import build
from mobilesam.training.config import TrainConfig, load_config
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


FREE = re.compile(
    r"CC-BY-[\d.]+|CC0-1\.0|MIT|Public domain|Kodak: released for unrestricted usage"
    r"|No known copyright restrictions"
)


def test_every_photo_may_be_used_for_anything() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|\n").split("|")]
        for line in (DEMO_FILE.parent / "ATTRIBUTION.md").read_text("utf-8").splitlines()
        if line.startswith("| ") and not line.startswith("| set")
    ]
    assert f"{len(rows)} photos" in read_metadata(DEMO_FILE)["description"]
    for _, photo, licence, of_masks, source in rows:
        assert FREE.match(licence) and not re.search("-(NC|ND|SA)", licence), photo
        assert of_masks == "–" or FREE.match(of_masks), photo
        assert "http" in source or "PyPI" in source, photo


def test_the_photos_listed_are_those_of_the_recipe() -> None:
    """`held_out.txt` less, of the folders that the recipe names."""
    shared = DEMO_FILE.parents[3] / "shared" / "data"
    if not shared.is_dir():
        pytest.skip("the photos that the demo weights were trained on lie beside the project only")
    recipes = DEMO_FILE.parents[1] / "training" / "recipes"
    config = load_config(recipes / "demo.toml", TrainConfig)
    assert config.data.held_out is not None
    held_out = set(read_names(config.data.held_out))
    trained = {
        (folder.name, Path(entry.file).name)
        for folder in (*config.data.masks, *config.data.photos)
        for entry in read_manifest(folder).images
    }
    trained = {(folder, name) for folder, name in trained if name not in held_out}
    text = (DEMO_FILE.parent / "ATTRIBUTION.md").read_text("utf-8")
    assert set(re.findall(r"^\| (\w+) \| (\S+) \|", text, re.M)) - {("set", "photo")} == trained


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
