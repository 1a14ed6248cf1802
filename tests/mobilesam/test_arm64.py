"""The emulated ARM core: what it is set up of, and what it says where it cannot be."""

import os
import subprocess
from pathlib import Path

import pytest

from mobilesam.emulators import arm64, debian
from mobilesam.errors import MissingDependencyError

QEMU = """#!/bin/sh
echo "cpu $QEMU_CPU"; echo "home $PYTHONHOME"; echo "path $PYTHONPATH"; echo "lib $LD_LIBRARY_PATH"
for each in "$@"; do echo "given $each"; done
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for the emulator."""
    monkeypatch.setenv("MOBILESAM_CACHE", str(tmp_path))
    return tmp_path / "emulators" / "arm64"


@pytest.fixture
def fetched(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every package is fetched at once; returns which."""
    names: list[str] = []

    def unpack(packages: dict[str, str], folder: Path, *, architecture: str, **_: object) -> None:
        names.extend(f"{name} {suite} {architecture}" for name, suite in packages.items())
        (folder / "usr" / "bin").mkdir(parents=True)
        if folder.name == "qemu":
            (folder / "usr" / "bin" / "qemu-aarch64").write_text(QEMU)
            (folder / "usr" / "bin" / "qemu-aarch64").chmod(0o755)

    def is_unpacked(_: object, folder: Path, **__: object) -> bool:
        return folder.is_dir()

    monkeypatch.setattr(debian, "unpack", unpack)
    monkeypatch.setattr(debian, "is_unpacked", is_unpacked)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(arm64, "_pip", lambda wanted, folder: names.extend(wanted))
    return names


def test_the_packages_are_those_that_this_project_pins(repository: Path) -> None:
    pins = (repository / "constraints.txt").read_text().splitlines()
    own = {name: pin for name, pin in arm64.WHEELS.items() if name not in arm64.OLDER}
    assert {f"{name}=={version}" for name, version in own.items()} <= set(pins)
    assert set(arm64.OLDER) <= set(arm64.WHEELS)


def test_what_is_missing_is_one_sentence(home: Path) -> None:
    said = arm64.missing()
    assert said.startswith("no ARM core can be emulated without qemu 10, an arm64 Python, aarch64 ")
    assert said.endswith(": run 'mobilesam phones'") and "\n" not in said


def test_set_up_fetches_what_is_missing_and_no_more(home: Path, fetched: list[str]) -> None:
    said: list[str] = []
    arm64.set_up(say=said.append)
    assert "qemu-user bookworm-backports amd64" in fetched
    assert "python3.11 bookworm arm64" in fetched and "numpy==2.3.5" in fetched
    assert arm64.missing() == "" and any("aarch64 packages" in text for text in said)
    assert not list(home.glob(".*"))
    fetched.clear()
    (home / "packages" / ".wheels.json").write_text("{}")
    assert "without aarch64 packages: " in arm64.missing()
    for folder in ("qemu", "root"):  # what the real one leaves alone, as it is there
        (home / folder / "usr" / "bin").rename(home / f"{folder}-bin")
        (home / folder / "usr").rmdir()
    arm64.set_up()
    assert "numpy==2.3.5" in fetched and arm64.missing() == ""


def test_what_starts_the_core_is_an_interpreter_of_its_own(
    home: Path, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arm64.set_up()
    monkeypatch.setenv("LD_LIBRARY_PATH", "/of/the/machine")
    started = [str(arm64.python()), "run.py", "two words"]

    def said(**environment: str) -> list[str]:
        told = {key: value for key, value in os.environ.items() if key != arm64.CPU_VARIABLE}
        done = subprocess.run(started, capture_output=True, text=True, env=told | environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    lines = said()
    assert lines[:4] == [
        f"cpu {arm64.DEFAULT_CPU}",
        f"home {home}/root/usr",
        f"path {home}/packages",
        "lib ",
    ]
    given = [line.removeprefix("given ") for line in lines[4:]]
    assert given[given.index("-0") + 1] == str(arm64.python())
    assert given[-3:] == [f"{home}/root/usr/bin/python3.11", "run.py", "two words"]
    assert said(QEMU_CPU="cortex-a53")[0] == "cpu cortex-a53"


def test_other_machines_are_told_that_it_cannot_be(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(MissingDependencyError, match="Linux on x86-64 or ARM .* on riscv64"):
        arm64.set_up()
    assert not home.exists()


def test_what_pip_cannot_fetch_is_one_sentence_and_leaves_nothing(
    home: Path, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        said = "WARNING: retrying\nERROR: No matching distribution found for numpy==2.3.5\n"
        return subprocess.CompletedProcess([], 1, "", said)

    monkeypatch.undo()
    monkeypatch.setattr(arm64.subprocess, "run", fail)
    with pytest.raises(MissingDependencyError, match=r"\('No matching distribution found for n"):
        arm64._install_wheels(home / "packages")
    assert not (home / "packages").exists() and not list(home.glob(".*"))
