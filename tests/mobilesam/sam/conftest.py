"""A photo, and the familiar call on a model small enough to be quick."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilesam import SAM
from tests.tiny_bundles import tiny_model


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """90 x 60 pixels of noise, RGB: height 90, width 60, no two channels alike."""
    return np.random.default_rng(0).integers(0, 256, (90, 60, 3), dtype=np.uint8)


@pytest.fixture
def photo(pixels: np.ndarray, tmp_path: Path) -> Path:
    """The same as a file."""
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def sam() -> SAM:
    """In PyTorch."""
    return SAM(tiny_model())
