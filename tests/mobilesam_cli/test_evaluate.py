"""`mobilesam evaluate` on the command line."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parity.evaluation.scores import PROMPT_NAMES, EvaluationReport
from tests.masked_folders import NAMES, coco_file, write_masked
from tests.mobilesam_cli.conftest import Run

Refused = Callable[..., str]
SMALL = ("--image-size", "64", "--threads", "1")


@pytest.fixture
def masked(tmp_path: Path) -> Path:
    """Three photos with masks."""
    return write_masked(tmp_path / "masked")


def test_json_and_file_are_the_same_result(run: Run, masked: Path, here: Path) -> None:
    result = run("evaluate", "--images", masked, *SMALL, "--json", "--out", "result.json")
    assert result.exit_code == 0, result.output
    printed = EvaluationReport.model_validate_json(result.stdout)
    assert printed == EvaluationReport.model_validate_json((here / "result.json").read_text())
    assert [path.name for path in here.iterdir()] == ["result.json"]
    typed = ("evaluate", "--images", str(masked), *SMALL, "--json", "--out", "result.json")
    assert printed.command == shlex.join(["mobilesam", *typed])
    assert printed.model == printed.weights["name"] == "demo"
    assert [score.prompt for score in printed.scores] == list(PROMPT_NAMES)
    for score in printed.scores:
        assert (score.segments, score.images) == (6, 3)
        assert score.low is not None and score.high is not None
        assert 0 <= score.low <= score.mean_iou <= score.high <= 1


def test_the_table_names_every_prompt(run: Run, masked: Path, here: Path) -> None:
    names = here / "names.txt"
    names.write_text("c.png\n")
    result = run("evaluate", "demo", "--images", masked, "--names", names, *SMALL)
    assert result.exit_code == 0, result.output
    assert all(name in result.stdout for name in PROMPT_NAMES)
    assert "2 segments of 1 images" in result.stdout
    assert "image size 64" in result.stdout


def test_coco(run: Run, masked: Path, here: Path) -> None:
    (here / "instances.json").write_text(json.dumps(coco_file()))
    arguments = ("--images", masked, "--coco", "instances.json", "--max-images", "1")
    result = run("evaluate", *arguments, "--all-segments", *SMALL, "--json")
    assert result.exit_code == 0, result.output
    found = EvaluationReport.model_validate_json(result.stdout)
    assert [segment.category for segment in found.segments] == ["disc", "bar", "dot"]
    assert found.scores[0].low is None


def test_a_bundle_has_an_image_size_of_its_own(
    refused: Refused, masked: Path, bundle: Path
) -> None:
    said = refused("evaluate", bundle, "--images", masked, "--image-size", "64")
    assert said == "a bundle has an image size of its own: drop --image-size"
    said = refused("evaluate", bundle, "--images", masked, "--runtime", "litert")
    assert "has no files for 'litert', only for torchscript" in said


BAD = {
    "no folder": (["--images", "nowhere"], "nowhere is not a folder of images"),
    "no manifest": (["--images", "empty"], "empty has no manifest.json"),
    "no checkpoint": (["gone.pt", "--images", "MASKED"], "no checkpoint file at 'gone.pt'"),
    "no bundle": (["empty", "--images", "MASKED"], "empty is not a bundle"),
    "runtime of a checkpoint": (
        ["--images", "MASKED", "--runtime", "litert"],
        "--runtime chooses among a bundle's runtimes",
    ),
    "image size": (["--images", "MASKED", "--image-size", "100"], "a multiple of 16"),
    "unknown name": (["--images", "MASKED", "--names", "names.txt"], "names 'd.png', which is not"),
    "no names": (["--images", "MASKED", "--names", "none.txt"], "none.txt has no names in it"),
    "names are gone": (["--images", "MASKED", "--names", "gone.txt"], "gone.txt cannot be read"),
    "nothing to score": (["--images", "small"], "--all-segments takes the others too"),
    "no COCO file": (["--images", "MASKED", "--coco", "gone.json"], "gone.json cannot be read"),
    "not a COCO file": (["--images", "MASKED", "--coco", "none.txt"], "not a COCO instances file"),
    "images are elsewhere": (
        ["--images", "empty", "--coco", "coco.json"],
        f"{NAMES[0]}: There is no image file at 'empty/{NAMES[0]}'",
    ),
    "out is a folder": (["--images", "MASKED", "--out", "empty"], "'empty' is a folder"),
    "out is nowhere": (
        ["--images", "MASKED", "--out", "no/result.json"],
        "lies in a folder that does not exist",
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_input(fault: str, refused: Refused, masked: Path, here: Path) -> None:
    (here / "empty").mkdir()
    (here / "names.txt").write_text("a.png\nd.png\n")
    (here / "none.txt").write_text("# nothing\n")
    (here / "coco.json").write_text(json.dumps(coco_file()))
    small = write_masked(here / "small") / "manifest.json"
    small.write_text(small.read_text().replace('"thing": true', '"thing": false'))
    arguments, expected = BAD[fault]
    said = refused("evaluate", *(masked if word == "MASKED" else word for word in arguments))
    assert expected in said


@pytest.mark.parametrize("fault", ["mask of another size", "image of another size", "broken image"])
def test_faults_found_on_the_way_leave_nothing_behind(
    fault: str, run: Run, masked: Path, here: Path
) -> None:
    if fault == "mask of another size":
        Image.new("L", (10, 10)).save(masked / "masks" / "b.png")
    elif fault == "image of another size":
        Image.fromarray(np.zeros((50, 96, 3), np.uint8)).save(masked / "images" / "b.png")
    else:
        (masked / "images" / "b.png").write_bytes(b"not an image")
    result = run("evaluate", "--images", masked, *SMALL, "--json", "--out", "result.json")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1 and "b.png" in result.stderr
    assert list(here.iterdir()) == []
