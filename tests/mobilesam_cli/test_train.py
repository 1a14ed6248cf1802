"""`mobilesam train` and `mobilesam distill` on the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from mobilesam import load_model
from mobilesam.data.masked_images import read_labels, read_manifest, segment_mask
from tests.masked_folders import coco_file, write_masked
from tests.mobilesam_cli.conftest import Run

Refused = Callable[..., str]

STAGE = """
[[stages]]
image_size = 64
steps = 1
batch = 1
prompts = 1
lr = 1e-3
"""
MASKS = '[data]\nmasks = ["masked"]\n'
TRAIN = "bf16 = false\n" + MASKS + STAGE
DISTILL = 'photos = ["masked/images"]\nimage_size = 64\nsteps = 1\nbatch = 1\ncrops = 0\n'
DISTILL += "bf16 = false\n"


def written(name: str, text: str) -> Path:
    path = Path(name)
    path.write_text(text)
    return path


@pytest.fixture
def masked(here: Path) -> Path:
    """Three photos with masks, in the current folder."""
    return write_masked(here / "masked")


@pytest.mark.parametrize(
    ("command", "recipe"), [("train", TRAIN), ("distill", DISTILL)], ids=["train", "distill"]
)
def test_weights_are_written(command: str, recipe: str, run: Run, masked: Path, here: Path) -> None:
    path = written("recipe.toml", recipe)
    workers = ["--workers", "0"] if command == "train" else []
    result = run(command, path, "--out", "out", "--quiet", *workers)
    assert result.exit_code == 0, result.output
    assert result.stdout == "out/weights.safetensors\n" and result.stderr == ""
    assert load_model(here / "out" / "weights.safetensors", image_size=64).weights is not None
    assert {"config.json", "log.jsonl", "curves.png", "state.pt"} <= {
        file.name for file in (here / "out").iterdir()
    }
    other = written("other.toml", "seed = 9\n" + recipe)
    before = (here / "out" / "config.json").read_bytes()
    result = run(command, other, "--out", "out", "--quiet")
    assert result.exit_code == 2
    assert "holds a run of another configuration" in result.stderr
    assert (here / "out" / "config.json").read_bytes() == before


def test_a_folder_of_the_other_command_is_refused(run: Run, masked: Path, here: Path) -> None:
    written("recipe.toml", DISTILL)
    assert run("distill", "recipe.toml", "--out", "out", "--quiet").exit_code == 0
    written("train.toml", TRAIN)
    result = run("train", "train.toml", "--out", "out", "--quiet")
    assert result.exit_code == 2
    assert "holds a run of another configuration" in result.stderr


BAD = {
    "no file": ("train", None, "there is no configuration file at 'recipe.toml'"),
    "TOML": ("train", "masks = [", "'recipe.toml' is not a TOML file"),
    "key": ("train", TRAIN + "stepz = 1\n", "stages.0.stepz: extra inputs are not permitted"),
    "type": ("distill", DISTILL.replace("= 64", '= "large"'), "image_size: input should be"),
    "no folder": ("train", TRAIN.replace("masked", "gone"), "gone has no manifest.json"),
    "no photos": ("train", "[data]\n" + STAGE, "names no training images"),
    "empty folder": ("distill", DISTILL.replace("masked/images", "empty"), "has no image files"),
    "no photo folder": ("distill", DISTILL.replace("masked/", "no/"), "is not a folder of images"),
    "coco photos": (
        "train",
        TRAIN.replace("masks", "coco").replace(
            '"masked"', '{annotations = "coco.json", images = "gone"}'
        ),
        "gone is not a folder of images",
    ),
    "distilled variant": ("distill", 'variant = "vit_x"\n' + DISTILL, "unknown variant 'vit_x'"),
    "weights before regions": (
        "train",
        'init = "gone.pt"\n' + TRAIN + "sources = {masks = 1, regions = 1}\n",
        "There is no checkpoint file at",
    ),
    "missing COCO photo": (
        "train",
        TRAIN.replace("masks", "coco").replace(
            '"masked"', '{annotations = "coco.json", images = "empty"}'
        ),
        "coco.json lists 'images/a.png', which is not in",
    ),
    "held out": ("train", TRAIN.replace(MASKS, MASKS + 'held_out = "no.txt"\n'), "no.txt cannot"),
    "held-out name": (
        "train",
        TRAIN.replace(MASKS, MASKS + 'held_out = "names.txt"\n'),
        "names.txt names 'typo.png', which is not among the images",
    ),
    "weights": ("train", 'init = "gone.pt"\n' + TRAIN, "There is no checkpoint file at"),
    "variant": ("train", 'variant = "vit_x"\n' + TRAIN, "unknown variant 'vit_x'"),
    "teacher": ("distill", 'teacher = "gone.pt"\n' + DISTILL, "There is no checkpoint file at"),
    "float scheme": (
        "distill",
        'scheme = "fp16"\n' + DISTILL,
        "'fp16' is no quantized scheme of target tflite; there are w8",
    ),
    "nothing to learn": (
        "train",
        TRAIN + "sources = {masks = 0, scenes = 0}\n",
        "a stage has nothing to learn from",
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_input(fault: str, refused: Refused, masked: Path, here: Path) -> None:
    command, text, expected = BAD[fault]
    (here / "empty").mkdir()
    written("coco.json", json.dumps(coco_file()))
    written("names.txt", "a.png\ntypo.png\n")
    if text is not None:
        written("recipe.toml", text)
    assert expected in refused(command, "recipe.toml", "--out", "out", "--quiet")


def test_scenes_are_written_whole_and_can_be_read(run: Run, masked: Path, here: Path) -> None:
    arguments = ("scenes", masked, "--out", "new/scenes", "--count", "3", "--side", "64", "--quiet")
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout == "new/scenes\n"
    assert [path.name for path in (here / "new").iterdir()] == ["scenes"]
    entries = read_manifest(here / "new" / "scenes").images
    assert len(entries) == 3
    for entry in entries:
        assert entry.mask is not None
        with Image.open(here / "new" / "scenes" / entry.file) as image:
            assert max(image.size) == 64
            labels = read_labels(here / "new" / "scenes" / entry.mask, image.size[::-1])
        for segment in entry.segments:
            mask = segment_mask(labels, segment, Path(entry.mask))
            assert mask.sum() == segment.area <= segment.full_area
    result = run(*arguments)
    assert result.exit_code == 2 and "is not empty" in result.stderr


def test_scenes_that_fail_leave_nothing(refused: Refused, masked: Path) -> None:
    for image in (masked / "images").iterdir():
        image.write_bytes(b"not a photo")
    said = refused("scenes", masked, "--out", "scenes", "--side", "64", "--quiet")
    assert "is not an image" in said
    said = refused("scenes", masked, "--out", "scenes", "--names", "gone.txt")
    assert "gone.txt cannot be read" in said


def test_out_must_be_a_folder(refused: Refused, masked: Path) -> None:
    written("recipe.toml", TRAIN)
    written("out", "a file")
    for command in ("train", "distill"):
        said = refused(command, "recipe.toml", "--out", "out/run")
        assert said.startswith("'out/run' cannot be a folder: ") and said.endswith("out' is a file")
