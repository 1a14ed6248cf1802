"""Every process that is started finds this project's packages, not those where the user stands."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from converters.exporting import export
from mobilesam.runtimes.bundle import Bundle
from parity.cost.measure import measure_bundle, measure_reference
from parity.replay.pack import pack
from parity.replay.start import run_folder
from tests.masked_folders import write_masked
from tests.parity.replay_folders import loadable

SIZE = 64
NAMES = ("training", "parity", "converters", "tools", "mobilesam", "mobilesam_cli", "tests")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: it has packages of our names, which cannot be imported."""
    folder = tmp_path / "elsewhere"
    for name in NAMES:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"raise ImportError('the user's {name}')")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return folder


def test_the_trap_works(elsewhere: Path) -> None:
    for name in NAMES:
        command = [sys.executable, "-c", f"import {name}"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert f"the user's {name}" in done.stderr


def test_measuring_the_reference(elsewhere: Path) -> None:
    encoder, decoder = measure_reference("demo", "vit_t", SIZE, 1, budget_s=0.0)
    assert encoder.timing.runs >= 1 and decoder.timing.runs >= 1


def test_exporting_and_measuring_a_bundle(elsewhere: Path, tmp_path: Path) -> None:
    (made,) = export(
        targets=["torchscript"],
        schemes=["fp32"],
        out=tmp_path / "exports",
        image_size=SIZE,
        progress=False,
    )
    encoder, decoder = measure_bundle(Bundle(made.path), "torchscript", 1, budget_s=0.0)
    assert encoder.timing.runs >= 1 and decoder.timing.runs >= 1


def test_replaying(
    tiny_bundle: Callable[..., Bundle],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    elsewhere: Path,
) -> None:
    onnx = tiny_bundle("onnx")
    loadable(monkeypatch, onnx)
    packed = pack(onnx, tmp_path / "pack", images=write_masked(tmp_path / "m"), progress=False)
    assert run_folder(packed.folder, threads=1) == 0
    (result,) = (packed.folder / "results").glob("*/result.json")
    assert json.loads(result.read_text("utf-8"))["error"] == ""


def test_workers_of_a_data_loader(elsewhere: Path, tmp_path: Path, repository: Path) -> None:
    """As macOS starts them: a fresh interpreter for each, which imports what the parent names."""
    script = tmp_path / "mine" / "load.py"
    script.parent.mkdir()
    script.write_text(
        f"""
import sys

sys.path.insert(0, {str(repository)!r})

from torch.utils.data import DataLoader


class Homes:
    def __len__(self):
        return 1

    def __getitem__(self, index):
        import converters, mobilesam.training, parity

        return [module.__file__ for module in (converters, mobilesam.training, parity)]


if __name__ == "__main__":
    for homes in DataLoader(Homes(), num_workers=1, multiprocessing_context="spawn"):
        print(homes)
"""
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(str(repository)) == 3
