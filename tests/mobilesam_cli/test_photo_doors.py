"""Photos that need an option or a library, through the command line: large ones, and HEIC."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
from PIL import Image

from converters.calibration import usable_names
from mobilesam.data import image_files
from mobilesam.errors import InputError
from mobilesam.inference import images
from mobilesam.inference.images import MAX_PIXELS_VARIABLE, allow_pixels, load_image, reads_heif
from mobilesam_cli import app
from tests.masked_folders import write_masked
from tests.mobilesam_cli.conftest import Run

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
"""How a HEIC file begins."""

ASK = ("--point", "9,9", "--image-size", "64")


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The photo of 96 x 64 pixels is larger than what is allowed."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 96 * 64 - 1)
    monkeypatch.delenv(MAX_PIXELS_VARIABLE, raising=False)


def test_a_large_photo_is_read_where_it_is_allowed(
    run: Run, photo: Path, here: Path, small_limit: None
) -> None:
    refused = run("predict", photo, *ASK)
    assert refused.exit_code == 2
    assert "has 6,144 pixels, more than the 6,143 that are allowed" in refused.stderr
    assert "--max-pixels 6144" in refused.stderr
    assert run("predict", photo, *ASK, "--max-pixels", "6144").exit_code == 0
    assert Image.open(here / "photo-mask.png").size == (96, 64)
    # What one command allows is not left to the next.
    assert MAX_PIXELS_VARIABLE not in os.environ
    assert run("predict", photo, *ASK).exit_code == 2


READ_PHOTOS = (
    *("predict", "parity", "evaluate", "export", "bisect", "golden", "search", "sensitivity"),
    *("train", "distill", "scenes"),
)


def test_every_command_that_reads_photos_can_be_allowed_more() -> None:
    front: Any = typer.main.get_command(app)
    commands = [front.commands[name] for name in READ_PHOTOS]
    for command in (*commands, front.commands["replay"].commands["pack"]):
        (option,) = (each for each in command.params if each.name == "max_pixels")
        assert option.callback is not None, command.name


def test_evaluating_and_calibrating_take_what_is_allowed(
    run: Run, tmp_path: Path, small_limit: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_masked(tmp_path / "masked")
    ask = ("evaluate", "--images", folder, "--image-size", "64")
    refused = run(*ask)
    assert refused.exit_code == 2 and "none of 3 photos can be used" in refused.stderr
    assert run(*ask, "--max-pixels", "6912").exit_code == 0
    monkeypatch.setenv(MAX_PIXELS_VARIABLE, "1")
    names = sorted(path.name for path in (folder / "images").glob("*.png"))
    with pytest.raises(InputError, match="can be calibrated on"):
        usable_names(folder / "images", 64)
    allow_pixels(6912)
    assert sorted(usable_names(folder / "images", 64)) == names


@pytest.mark.slow
def test_a_photo_over_the_usual_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.png"
    Image.new("1", (10_000, 9_000), 1).save(path)
    with pytest.raises(images.ImageError, match="--max-pixels 90000000"):
        load_image(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    monkeypatch.setenv(MAX_PIXELS_VARIABLE, "1")
    allow_pixels(90_000_000)
    assert load_image(path).shape == (9_000, 10_000, 3)


def test_processes_that_are_started_inherit_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    monkeypatch.setenv(MAX_PIXELS_VARIABLE, "1")
    allow_pixels(123_456_789)
    ask = "import mobilesam.inference.images; from PIL import Image; print(Image.MAX_IMAGE_PIXELS)"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "123456789"


def test_a_heic_photo_without_the_library(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (images, image_files):
        monkeypatch.setattr(module, "reads_heif", lambda: False)
    for name in ("photo.heic", "renamed.jpg"):
        path = tmp_path / name
        path.write_bytes(HEIC)
        assert 'pip install "mobilesam-export[heif]"' in refused("predict", path, *ASK)


def test_a_heic_photo_with_the_library(run: Run, tmp_path: Path, here: Path) -> None:
    if find_spec("pillow_heif") is None:
        pytest.skip("needs pillow-heif")
    assert reads_heif()
    pixels = np.full((64, 96, 3), 250, np.uint8)
    pixels[:, :48] = 0
    turned = Image.Exif()
    turned[0x0112] = 6  # to be shown a quarter turn clockwise
    plain, rotated = tmp_path / "plain.heic", tmp_path / "rotated.heic"
    Image.fromarray(pixels).save(plain, quality=90)
    Image.fromarray(pixels).save(rotated, quality=90, exif=turned.tobytes())
    assert load_image(plain).shape == (64, 96, 3)
    upright = load_image(rotated)
    assert upright.shape == (96, 64, 3)
    # The left half of the stored pixels is the upper half of what is shown.
    assert upright[:40].mean() < 20 and upright[56:].mean() > 230
    assert run("predict", rotated, *ASK).exit_code == 0
    assert Image.open(here / "rotated-mask.png").size == (64, 96)
