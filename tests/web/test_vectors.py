"""The page's arithmetic against the library's own numbers, under Node's test runner."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.web.browsers import page_folder
from tests.web.vectors import write_vectors

MODULES = {"mobilesam": "MOBILESAM_MODULE", "everything": "MOBILESAM_EVERYTHING"}
"""Files of the built page, and the variable that names another one to the tests."""

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
    "no crop": ("[side, side],\n    needed,", "[height, width],\n    needed,"),
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

PLANTED_IN_EVERYTHING = {
    "points at the cells' corners": ("(i + 0.5) / side", "i / side"),
    "rows for columns": ("centre(i % side) * width", "centre(Math.floor(i / side)) * width"),
    "the mask for one object": ("predicted.length > 1 ? 1 : 0", "0"),
    "stability of one threshold": ("threshold + STABILITY_SCORE_OFFSET", "threshold"),
    "unstable masks kept": (" >= settings.stabilityScoreThresh", " >= 0"),
    "unlikely masks kept": (" > settings.predIouThresh", " > 0"),
    "the worst first": ("other.predictedIou - one.predictedIou", "one.predictedIou"),
    "duplicates kept": ("both > threshold *", "both > 2 * threshold *"),
    "too small a part": ("(first - 0.5) * stride - 2", "(first + 2) * stride"),
    "runs row by row": ("change(x * height + y)", "change(y * photoWidth + x)"),
}


@pytest.fixture(scope="module")
def own_vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vectors") / "vectors.json"
    write_vectors(path)
    return path


def run_node(repository: Path, own: Path, **modules: Path) -> subprocess.CompletedProcess[str]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs Node.js 20 or newer")
    return subprocess.run(
        [node, "--test", str(repository / "apps" / "web" / "test")],
        env={
            **os.environ,
            **{MODULES[name]: path.resolve().as_uri() for name, path in modules.items()},
            "MOBILESAM_WEB_VECTORS": str(own),
        },
        capture_output=True,
        text=True,
    )


def test_module_computes_as_the_library(repository: Path, own_vectors: Path) -> None:
    modules = {name: page_folder() / f"{name}.js" for name in MODULES}
    done = run_node(repository, own_vectors, **modules)
    assert done.returncode == 0, done.stdout
    for none in ("fail", "skipped"):
        assert f"# {none} 0" in done.stdout
    assert "# pass 0" not in done.stdout


@pytest.mark.parametrize(
    ("name", "error"),
    [
        *(("mobilesam", error) for error in PLANTED),
        *(("everything", error) for error in PLANTED_IN_EVERYTHING),
    ],
)
def test_planted_error_is_found(
    repository: Path, own_vectors: Path, tmp_path: Path, name: str, error: str
) -> None:
    right, wrong = (PLANTED | PLANTED_IN_EVERYTHING)[error]
    text = (page_folder() / f"{name}.js").read_text("utf-8")
    assert text.count(right) == 1, f"'{right}' is in the module {text.count(right)} times"
    planted = tmp_path / "planted.mjs"
    planted.write_text(text.replace(right, wrong), "utf-8")
    modules = {each: page_folder() / f"{each}.js" for each in MODULES}
    done = run_node(repository, own_vectors, **modules | {name: planted})
    assert done.returncode != 0, "the tests did not notice"
    assert "not ok" in done.stdout
