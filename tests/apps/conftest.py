"""Golden vectors that the apps' tests read, in every language the same ones."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mobilesam.bundle.prompt_types import Subject
from mobilesam.runtimes.bundle import Bundle
from parity.cases import PromptedPhoto
from parity.golden import Golden, write_golden
from parity.thresholds import Thresholds
from tests.tiny_bundles import tiny_model

SIZES = {"landscape": (70, 101), "portrait": (303, 187)}
"""Height and width of each photo: one is scaled up to the frame, one down; both are padded."""


@dataclass(frozen=True)
class GoldenFolders:
    """What ``mobilesam golden`` makes of a bundle and each photo.

    Attributes:
        bundle: TFLite files.
        folders: one a photo, with its name.
        indices: what ``golden.json`` of each says.
    """

    bundle: Bundle
    folders: tuple[Path, ...]
    indices: tuple[Golden, ...]

    @property
    def masks(self) -> int:
        """How many prompts there are in all."""
        return sum(len(index.cases) for index in self.indices)


def photo(name: str) -> np.ndarray:
    """A photo HxWx3 uint8 with slopes, edges and other values in each channel."""
    rows, columns = np.indices(SIZES[name])
    noise = np.random.default_rng(0).integers(0, 60, (*SIZES[name], 3))
    base = np.stack([rows * 3, columns * 2, (rows * columns) // 5], axis=-1)
    return ((base + noise) % 256).astype(np.uint8)


def golden_folders(bundle: Bundle, out: Path) -> GoldenFolders:
    """Golden vectors of the tiny model's bundle and each photo, in a folder for each."""
    row = Thresholds().row("tflite", "fp32")
    folders, indices = [], []
    for name in SIZES:
        asked = PromptedPhoto(name, partial(photo, name), Subject.middle)
        indices.append(write_golden(bundle, tiny_model(), asked, row, out / name))
        folders.append(out / name)
    return GoldenFolders(bundle, tuple(folders), tuple(indices))


@pytest.fixture(scope="session")
def golden(
    tiny_bundle: Callable[..., Bundle], tmp_path_factory: pytest.TempPathFactory
) -> GoldenFolders:
    """Skips where TFLite files cannot be made."""
    return golden_folders(tiny_bundle("tflite", "fp32"), tmp_path_factory.mktemp("golden"))
