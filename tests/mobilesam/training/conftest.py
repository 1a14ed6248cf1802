"""Small stages, configurations and photos to train on."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilesam.training.config import Data, Stage, TrainConfig
from tests.masked_folders import write_masked


def small_stage(**changes: Any) -> Stage:
    """A stage of a few quick steps."""
    return Stage(**({"image_size": 64, "steps": 4, "batch": 2, "prompts": 3, "lr": 1e-3} | changes))


def small_config(masks: Path, *stages: Stage, **changes: Any) -> TrainConfig:
    """A run on a folder with masks, in float32."""
    settings: dict[str, Any] = {
        "data": Data(masks=(masks,)),
        "stages": stages or (small_stage(),),
        "bf16": False,
    }
    return TrainConfig(**(settings | changes))


def write_objects(folder: Path, count: int = 3) -> Path:
    """Photos of 128 x 160 pixels with one disc that is large enough to be cut out."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    rows, columns = np.mgrid[0:128, 0:160]
    entries = []
    for number in range(count):
        disc = (rows - 60) ** 2 + (columns - 70 - 10 * number) ** 2 < 44**2
        random = np.random.default_rng(number)
        pixels = np.where(disc[..., None], random.integers(0, 255, 3), 40 + columns[..., None] // 2)
        noisy = pixels + random.integers(-8, 8, pixels.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"images/{number}.png")
        Image.fromarray(disc.astype(np.uint8)).save(folder / f"masks/{number}.png")
        area, left = int(disc.sum()), int(np.flatnonzero(disc.any(0))[0])
        segment = {
            "label": 1,
            "category": "disc",
            "thing": True,
            "area": area,
            "full_area": area,
            "bbox": [left, 17, 87, 87],
            "point": [70 + 10 * number, 60],
        }
        names = {"file": f"images/{number}.png", "mask": f"masks/{number}.png"}
        entries.append(names | {"segments": [segment]})
    (folder / "manifest.json").write_text(json.dumps({"images": entries}))
    return folder


def write_held_out(folder: Path, name: str) -> Path:
    """A list that holds out one image of a folder, and that image damaged so that none reads it."""
    (folder / "images" / name).write_bytes(b"held out: reading this is an error")
    listed = folder / "held_out.txt"
    listed.write_text(f"# never to be read\n{name}  # a comment\n\n")
    return listed


@pytest.fixture(scope="session")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos with masks."""
    return write_masked(tmp_path_factory.mktemp("data") / "masked")


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos with an object that can be cut out."""
    return write_objects(tmp_path_factory.mktemp("data") / "objects")
