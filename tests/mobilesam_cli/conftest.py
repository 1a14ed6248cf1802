"""A way to run the command line in this process, a photo, and a bundle that needs no converter."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer.testing
from PIL import Image

from mobilesam.bundle.contract import COMPONENTS, CONTRACT_VERSION, LABELS, Contract
from mobilesam.bundle.manifest import (
    MANIFEST_NAME,
    FileRecord,
    Manifest,
    SchemeRecord,
    SignatureRecord,
    WeightsRecord,
    size_on_disk,
)
from mobilesam.files import sha256_of
from mobilesam_cli import app

Run = Callable[..., typer.testing.Result]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run() -> Run:
    """``run("predict", …)`` as a shell would: exit status, stdout and stderr."""

    def _run(*arguments: str | Path) -> typer.testing.Result:
        return typer.testing.CliRunner().invoke(app, [str(part) for part in arguments])

    return _run


@pytest.fixture
def refused(run: Run, here: Path) -> Callable[..., str]:
    """Run a command that must be refused; returns its sentence.

    Exit status 2, one line on stderr, nothing on stdout, and not a file more than before.
    """

    def _refused(*arguments: str | Path) -> str:
        before = sorted(here.rglob("*"))
        result = run(*arguments)
        assert result.exit_code == 2, (result.output, result.exception)
        assert result.stdout == ""
        lines = result.stderr.splitlines()
        assert len(lines) == 1 and lines[0].startswith("error: "), result.stderr
        assert sorted(here.rglob("*")) == before
        return lines[0].removeprefix("error: ")

    return _refused


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photo of 96 x 64 pixels."""
    path = tmp_path / "photo.png"
    rows, columns = np.mgrid[0:64, 0:96]
    pixels = np.stack([rows * 3, columns * 2, (rows + columns) % 256], axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle whose manifest is right and whose two files hold a few bytes."""
    folder = tmp_path / "torchscript-fp32"
    folder.mkdir()
    contract = Contract(64, 16, 256, "pixels", 8)
    files = []
    for component in COMPONENTS:
        path = folder / f"{component}.pt"
        path.write_bytes(component.encode())
        files.append(
            FileRecord(
                path=path.name,
                component=component,
                runtime="torchscript",
                sha256=sha256_of(path),
                size_bytes=size_on_disk(path),
            )
        )
    manifest = Manifest(
        contract_version=CONTRACT_VERSION,
        target="torchscript",
        scheme=SchemeRecord(name="fp32", meaning="float32 throughout"),
        variant="vit_t",
        image_size=64,
        stride=16,
        channels=256,
        input_variant="pixels",
        slots=8,
        signatures={c: SignatureRecord.of(contract.signature(c)) for c in COMPONENTS},
        files=tuple(files),
        preprocessing={},
        postprocessing={},
        labels={int(value): meaning for value, meaning in LABELS.items()},
        weights=WeightsRecord(
            name="demo",
            source="a test",
            sha256="0" * 64,
            licence="Apache-2.0",
            description="made up",
        ),
        tools={"torch": "2.13.0"},
        export_key="0" * 64,
        licence="Apache-2.0",
    )
    (folder / MANIFEST_NAME).write_text(manifest.model_dump_json(indent=2), "utf-8")
    return folder
