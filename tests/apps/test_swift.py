"""The Swift package of ``apps/apple/``: its arithmetic built and tested by Debian's Swift.

Skips where that is not set up; ``tests/test_swift_package.py`` checks what needs no compiler.
"""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mobilesam.emulators import swift
from tests.apps.conftest import GoldenFolders
from tests.apps.planted import Error
from tests.conftest import require_emulator

SOURCES = Path("apps/apple/Sources/MobileSAM")
TESTS = {"GoldenArithmeticTests": 3, "ManifestTests": 5, "PixelBytesTests": 2, "VectorTests": 6}
"""Test classes that are compiled off Apple's systems, and how many tests each has."""

ERRORS = {
    "half a pixel": Error(
        "Postprocessing.swift",
        "(-0.5 as Float).addingProduct(Float(index) + 0.5, scale)",
        "Float(index) * scale",
        "testLogitsBecomeTheMaskToShow",
    ),
    "BGR": Error(
        "Preprocessing.swift",
        "row * image.width * 3 + channel",
        "row * image.width * 3 + 2 - channel",
        "testPhotosBecomeTheEncodersInputs",
    ),
    "padding at the top and left": Error(
        "Preprocessing.swift",
        "(channel * side + row) * side",
        "(channel * side + row + side - image.height) * side + side - image.width",
        "testPhotosBecomeTheEncodersInputs",
    ),
    "label -1 left out": Error(
        "Prompt.swift",
        "add(0, 0, SlotLabel.paddingPoint)",
        "",
        "testPromptsBecomeTheDecodersInputs",
    ),
}

Tested = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def package(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package, to be changed."""
    require_emulator("swift")
    copy = tmp_path_factory.mktemp("swift") / "package"
    copy.mkdir()
    shutil.copy(repository / "Package.swift", copy)
    mine = shutil.ignore_patterns("bundle", "golden")  # what a developer put among the fixtures
    for part in ("Sources", "Tests"):
        shutil.copytree(repository / "apps/apple" / part, copy / "apps/apple" / part, ignore=mine)
    return copy


@pytest.fixture(scope="module")
def tested(package: Path, golden: GoldenFolders) -> Tested:
    """``tested(options…)``: ``swift test`` of the package as it is then."""
    scratch = package.parent / "scratch"
    scratch.mkdir()
    folders = {package, scratch, *golden.folders}
    named = f"MOBILESAM_GOLDEN={':'.join(map(str, golden.folders))}"

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        program = ["swift", "test", "--scratch-path", str(scratch), *options]
        command = swift.command(["env", named, *program], folders, package)
        return subprocess.run(command, capture_output=True, text=True)

    return run


@pytest.mark.slow
def test_every_golden_vector_value_for_value(tested: Tested, golden: GoldenFolders) -> None:
    done = tested()
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    # The one that is skipped reads the manifest of a Core ML bundle.
    total = sum(TESTS.values())
    assert f"Executed {total} tests, with 1 test skipped and 0 failures" in said, said
    assert f"golden vectors: {golden.masks} masks compared" in said


@pytest.mark.slow
@pytest.mark.parametrize("name", ERRORS)
def test_a_planted_error_fails_the_golden_vectors(name: str, package: Path, tested: Tested) -> None:
    error = ERRORS[name]
    file = package / SOURCES / error.file
    right = file.read_text("utf-8")
    error.plant(package / SOURCES)
    try:
        done = tested("--filter", "GoldenArithmeticTests")
    finally:
        file.write_text(right, "utf-8")
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Build complete" in said, said
    failed = re.findall(r"Test Case 'GoldenArithmeticTests\.(\w+)' failed", said)
    assert failed == [error.fails], said


def test_each_error_can_be_planted(repository: Path, tmp_path: Path) -> None:
    for number, error in enumerate(ERRORS.values()):
        copy = tmp_path / str(number)
        shutil.copytree(repository / SOURCES, copy)
        error.plant(copy)
