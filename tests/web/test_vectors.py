"""The page's arithmetic against the library's own numbers, under Node's test runner."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.web.browsers import page_folder
from tests.web.vectors import write_vectors

PLANTED = {
    "half a pixel": ("const centre = (i + 0.5) * scale;", "const centre = i * scale;"),
    "half a pixel in masks": ("scale * (i + 0.5)) - 0.5", "scale * i)"),
    "half a pixel in points": ("Math.fround(x) * across", "(Math.fround(x) + 0.5) * across"),
    "BGR": ("small.data[from + 4 * x]", "small.data[from + 2 - 2 * channel + 4 * x]"),
    "padding at the left": ("image[to + x]", "image[to + x + side - small.width]"),
    "padding at the top": (
        "(channel * side + row) * side",
        "(channel * side + row + side - small.height) * side",
    ),
    "padding before normalising": (
        "new Float32Array(3 * side * side)",
        "new Float32Array(3 * side * side).fill(normalizes ? -2 : 0)",
    ),
    "label -1 left out": ("slots.push([0, 0, LABEL.padding]);", ""),
    "x and y exchanged": ("([x, y]) => [x, y]", "([x, y]) => [y, x]"),
    "not antialiased": ("const support = Math.max(scale, 1)", "const support = 1"),
    "no crop": ("[side, side],\n    [height, width],", "[height, width],\n    [height, width],"),
    "the best mask of all four": ("let best = 1;", "let best = 0;"),
    "bytes as BGR": ('"rgba".indexOf(channel)', '"bgra".indexOf(channel)'),
    "bytes padded at the left": (
        "let to = row * width * channels.length",
        "let to = (row * width + width - photo.width) * channels.length",
    ),
    "bytes padded at the top": (
        "let to = row * width * channels.length",
        "let to = (row + height - photo.height) * width * channels.length",
    ),
    "full masks half a pixel off": ("(i + 0.5) * frame / photo", "i * frame / photo"),
    "full masks not cropped": ("nearest(photoWidth, width)", "nearest(photoWidth, side)"),
    "a choice of the one full mask": ("full ? 0 : chosenMask", "chosenMask"),
}


@pytest.fixture(scope="module")
def own_vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vectors") / "vectors.json"
    write_vectors(path)
    return path


def run_node(repository: Path, module: Path, own: Path) -> subprocess.CompletedProcess[str]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs Node.js 20 or newer")
    return subprocess.run(
        [node, "--test", str(repository / "apps" / "web" / "test")],
        env={
            **os.environ,
            "MOBILESAM_MODULE": module.resolve().as_uri(),
            "MOBILESAM_WEB_VECTORS": str(own),
        },
        capture_output=True,
        text=True,
    )


def test_module_computes_as_the_library(repository: Path, own_vectors: Path) -> None:
    done = run_node(repository, page_folder() / "mobilesam.js", own_vectors)
    assert done.returncode == 0, done.stdout
    for none in ("fail", "skipped"):
        assert f"# {none} 0" in done.stdout
    assert "# pass 0" not in done.stdout


@pytest.mark.parametrize("error", PLANTED)
def test_planted_error_is_found(
    repository: Path, own_vectors: Path, tmp_path: Path, error: str
) -> None:
    right, wrong = PLANTED[error]
    text = (page_folder() / "mobilesam.js").read_text("utf-8")
    assert text.count(right) == 1, f"'{right}' is in the module {text.count(right)} times"
    planted = tmp_path / "planted.mjs"
    planted.write_text(text.replace(right, wrong), "utf-8")
    done = run_node(repository, planted, own_vectors)
    assert done.returncode != 0, "the tests did not notice"
    assert "not ok" in done.stdout
