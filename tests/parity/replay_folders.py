"""Replay folders of the tiny model, and interpreters that have next to nothing installed."""

import json
import os
import subprocess
import venv
from pathlib import Path

import onnxruntime
import pytest

from mobilesam.bundle.contract import COMPONENTS
from mobilesam.bundle.manifest import MANIFEST_NAME, size_on_disk
from mobilesam.files import sha256_of
from mobilesam.model.sam import MobileSAM
from mobilesam.runtimes.bundle import Bundle
from mobilesam.weights.checkpoints import WeightsInfo
from parity import origin
from parity.replay.run import sha256
from tests.tiny_bundles import make_tiny_model

FAKE_MAC = Path(__file__).with_name("fake_mac")
RUNTIME_ALONE = ("numpy", "onnxruntime", "flatbuffers", "google", "protobuf", "packaging")


def loadable(patch: pytest.MonkeyPatch, bundle: Bundle) -> None:
    """Let every command load the tiny model as what the bundle was exported from."""
    model = make_tiny_model()
    model.weights = WeightsInfo(**bundle.manifest.weights.model_dump())

    def load(*_: object, **__: object) -> MobileSAM:
        return model

    patch.setattr(origin, "load_model", load)
    patch.setattr(origin, "_recorded", lambda of: of.manifest.weights.source)


def minimal_python(folder: Path, packages: tuple[str, ...] = RUNTIME_ALONE) -> Path:
    """An interpreter with these packages alone: no torch, no Pillow, no pydantic, none of ours."""
    venv.create(folder, symlinks=True, with_pip=False)
    (target,) = folder.glob("lib/python*/site-packages")
    installed = Path(onnxruntime.__file__).parent.parent
    for package in packages:
        for found in (*installed.glob(package), *installed.glob(f"{package}[-.]*")):
            (target / found.name).symlink_to(found)
    return folder / "bin" / "python"


def run_script(
    python: Path | str, folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """``run.py`` of a replay folder in a bare environment."""
    return subprocess.run(
        [str(python), str(folder / "run.py"), *arguments],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], **environment},
    )


def mac_environment(onnx: Bundle, calls: Path, **more: str) -> dict[str, str]:
    """What makes an interpreter take itself for a Mac with coremltools, see ``fake_mac``."""
    return {
        "PYTHONPATH": str(FAKE_MAC),
        "FAKE_CALLS": str(calls),
        "FAKE_ONNX": str(onnx.path),
        **more,
    }


def as_coreml(onnx: Bundle, folder: Path) -> Bundle:
    """A bundle with the manifest of a Core ML one, whose packages the fake coremltools opens."""
    folder.mkdir()
    manifest = json.loads((onnx.path / MANIFEST_NAME).read_text("utf-8"))
    manifest |= {"target": "coreml", "files": []}
    for component in COMPONENTS:
        package = folder / f"{component}.mlpackage"
        (package / "Data").mkdir(parents=True)
        (package / "Data" / "model.mlmodel").write_text(component)
        manifest["files"].append(
            {
                "path": package.name,
                "component": component,
                "runtime": "coreml",
                "sha256": sha256_of(package),
                "size_bytes": size_on_disk(package),
            }
        )
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest), "utf-8")
    return Bundle(folder)


def record_again(folder: Path, index: str, name: str) -> None:
    """Make a changed file pass for what was written: put its new digest into an index."""
    path = folder / index
    table = json.loads(path.read_text("utf-8"))
    table["files"][name] = sha256(folder / name)
    path.write_text(json.dumps(table), "utf-8")
