"""The table of models: each is found by its weights, and weights that fit none are refused."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from mobilesam import load_model
from mobilesam.errors import CheckpointError, InputError
from mobilesam.model import build as building
from mobilesam.model.build import DEFAULT_VARIANT, VARIANTS, Variant, build
from mobilesam.model.vit import ViT
from mobilesam.weights.checkpoints import KNOWN_NAMES
from mobilesam.weights.published import PUBLISHED
from tests.tiny_bundles import SMALL_VIT
from tests.upstream.oracle import randomize


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """Weights of a variant that is in the table for this test; its neck is as wide as the true."""
    config = type(SMALL_VIT)(**{**vars(SMALL_VIT), "out_channels": 256})
    row = Variant(title="Small SAM", encoder=lambda: ViT(config), published="sam_vit_b")
    monkeypatch.setattr(building, "VARIANTS", {**VARIANTS, "small": row})
    model = build("small", 64)
    randomize(model, seed=3)
    return model.state_dict()


def test_the_variant_is_that_of_the_weights(small: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(small, path)
    found = load_model(path, image_size=64)
    assert found.variant == "small"
    assert all(torch.equal(value, small[name]) for name, value in found.state_dict().items())
    assert load_model("demo", image_size=64).variant == DEFAULT_VARIANT == "vit_t"


def test_a_key_says_which_model_of_a_file_is_meant(
    small: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "both.pth"
    demo = load_model("demo", image_size=64).state_dict()
    torch.save({"student": demo, "teacher": small}, path)
    assert load_model(f"{path}#teacher", image_size=64).variant == "small"
    assert load_model(f"{path}#student", image_size=64).variant == "vit_t"
    assert load_model(path, "small", 64).variant == "small"


def test_weights_that_lack_something_are_held_against_the_nearest_variant(
    small: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "partial.pth"
    lost = "image_encoder.blocks.2.mlp.lin1.bias"
    torch.save({name: value for name, value in small.items() if name != lost}, path)
    with pytest.raises(CheckpointError, match=f"1 missing: {lost}"):
        load_model(path, image_size=64)


def test_another_variant_s_weights_are_named() -> None:
    with pytest.raises(CheckpointError, match="looks like MobileSAM, not SAM ViT-B"):
        load_model("demo", "vit_b", 64)


def test_a_table_for_another_grid_is_refused(small: dict[str, Tensor], tmp_path: Path) -> None:
    """As fine-tuning at another size leaves it: the encoder has one size of tables."""
    path = tmp_path / "stretched.pth"
    name = "image_encoder.pos_embed"
    torch.save({**small, name: small[name][:, :8, :8]}, path)
    with pytest.raises(CheckpointError, match=rf"{name} \(1x8x8x96 instead of 1x12x12x96\)"):
        load_model(path, image_size=64)


def test_each_variant_has_weights_with_a_name() -> None:
    assert {row.published for row in VARIANTS.values()} == set(PUBLISHED)
    assert set(PUBLISHED) < set(KNOWN_NAMES)
    assert len({row.file_name for row in PUBLISHED.values()}) == len(PUBLISHED)
    for row in PUBLISHED.values():
        assert row.url.startswith("https://") and len(row.sha256) == 64 and row.licence


def test_a_mirror_is_a_file_or_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    row = PUBLISHED["sam_vit_b"]
    monkeypatch.delenv("MOBILESAM_URL", raising=False)
    assert row.address() == row.url
    assert row.address("https://mirror/b.pth") == "https://mirror/b.pth"
    monkeypatch.setenv("MOBILESAM_URL", "https://mirror/sam/")
    assert row.address() == "https://mirror/sam/sam_vit_b_01ec64.pth"


@pytest.mark.parametrize("size", [48, 100, 4112, 100_000])
def test_a_size_that_cannot_be_built_is_refused_before_it_is(size: int) -> None:
    with pytest.raises(InputError, match=f"multiple of 16 from 64 to 4096, not {size}"):
        build(image_size=size)
