"""Checkpoints through the command line: what was taken is said, and the user can choose."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mobilesam.errors import CheckpointError
from mobilesam.runtimes.bundle import Bundle
from mobilesam.weights.checkpoints import load_state_dict
from parity.origin import Origin
from tests.mobilesam_cli.conftest import Run


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """A checkpoint with raw and averaged weights."""
    state, _ = load_state_dict("demo")
    raw = {n: t * 0.5 if t.is_floating_point() else t for n, t in state.items()}
    path = tmp_path / "several.pt"
    torch.save({"model": raw, "ema": state, "epoch": 3}, path)
    return path


def test_predict_says_what_it_took(run: Run, photo: Path, here: Path, several: Path) -> None:
    ask = ("predict", photo, "--point", "9,9", "--image-size", "64", "--weights", several)
    result = run(*ask)
    assert result.exit_code == 0
    notes = [line for line in result.stderr.splitlines() if line.startswith("note: took")]
    assert notes == [
        "note: took the 435 tensors under 'ema' of 'several.pt', a moving average, and not those "
        "under 'model' (--weights-key chooses); left out epoch"
    ]
    result = run(*ask, "--weights-key", "model")
    assert "took the 435 tensors under 'model'" in result.stderr


def test_a_key_that_names_nothing(
    refused: Callable[..., str], photo: Path, several: Path, bundle: Path
) -> None:
    ask = ("predict", photo, "--point", "9,9", "--weights-key", "teacher")
    assert "under 'model' and 'ema'" in refused(*ask, "--weights", several)
    sentence = refused("parity", bundle, "--weights-key", "ema")
    assert "give its path with --weights" in sentence


def _from(bundle: Path, source: str, key: str = "") -> Bundle:
    opened = Bundle(bundle)
    own = opened.manifest.weights
    weights = own.model_copy(update={"name": "mine.pt", "source": source, "key": key})
    manifest = opened.manifest.model_copy(update={"weights": weights})
    (bundle / "manifest.json").write_text(manifest.model_dump_json(), "utf-8")
    return Bundle(bundle)


def test_a_relative_checkpoint_is_found_from_the_bundle_upwards(bundle: Path, here: Path) -> None:
    opened = _from(bundle, "runs/mine.pt", "ema")
    with pytest.raises(CheckpointError, match=r"runs/mine\.pt', which are not there.*--weights"):
        Origin.of(opened, None)
    place = bundle.parent / "runs" / "mine.pt"
    place.parent.mkdir(exist_ok=True)
    place.touch()
    assert Origin.of(opened, None).weights == f"{place.resolve()}#ema"
    (here / "runs").mkdir(exist_ok=True)
    (here / "runs" / "mine.pt").touch()
    assert Origin.of(opened, None).weights == "runs/mine.pt#ema"
    assert Origin.of(opened, "other.pt").weights == "other.pt"


def test_parity_names_the_option_where_the_checkpoint_is_gone(
    refused: Callable[..., str], bundle: Path
) -> None:
    _from(bundle, "runs/mine.pt")
    assert "give the checkpoint with --weights" in refused("parity", bundle)
