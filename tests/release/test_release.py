"""A release, opened as its receiver would."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.testing
import yaml
from PIL import Image

from converters.onnx.options import ONNXOptions
from mobilesam.apps import python_page
from mobilesam.apps.layout import Listed
from mobilesam.bundle.manifest import MANIFEST_NAME
from mobilesam.errors import InputError
from mobilesam.inference.answers import answer
from mobilesam.inference.predictor import Predictor
from mobilesam.inference.prompts import make_prompt
from mobilesam.runtimes.bundle import Bundle
from mobilesam_cli import app
from parity.golden_masks import INDEX_NAME, compare_masks
from parity.metrics import iou
from parity.release import folder, write_release
from parity.release.card import card
from parity.release.folder import SUMS
from parity.report import Report
from tests.shared_bundles import exported
from tests.tiny_bundles import tiny_model

NAMES = ["tflite-fp32", "tflite-fp32-2", "onnx-fp32", "coreml-fp32"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    """The page's blocks of code in a language."""
    found = BLOCK.findall(page.read_text("utf-8"))
    return [text for own, text in found if own == language]


def checked_sums(release: Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("sha256sum") is None:
        pytest.skip("needs sha256sum")
    return subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", SUMS],
        cwd=release,
        capture_output=True,
        text=True,
    )


def broken_links(release: Path) -> list[str]:
    """Relative links of the release's own pages that lead nowhere."""
    broken = []
    for page in release.rglob("*.md"):
        prose = BLOCK.sub("", page.read_text("utf-8"))
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", prose):
            there = (page.parent / target).exists()
            if not target.startswith(("http://", "https://", "data:")) and not there:
                broken.append(f"{page.name}: {target}")
    return broken


def told(*arguments: str | Path) -> typer.testing.Result:
    return typer.testing.CliRunner().invoke(app, [str(part) for part in arguments])


def golden_of(release: Path) -> Path:
    (folder,) = (release / "golden").iterdir()
    return folder


def wanted_mask() -> np.ndarray:
    """PyTorch's mask of a click in the middle of photo.jpg."""
    predictor = Predictor(tiny_model())
    predictor.set_image("photo.jpg")
    height, width = predictor.frame.original_size
    prompt = make_prompt([[width / 2, height / 2]], [1], None, original_size=(height, width))
    return answer(predictor, prompt).mask


def test_every_digest_verifies_and_every_file_has_one(released: Path) -> None:
    done = checked_sums(released)
    assert done.returncode == 0, done.stdout + done.stderr
    listed = {line[66:] for line in (released / SUMS).read_text("utf-8").splitlines()}
    found = {p.relative_to(released).as_posix() for p in released.rglob("*") if p.is_file()}
    assert listed == found - {SUMS}


def test_every_link_leads_somewhere(released: Path) -> None:
    assert broken_links(released) == []
    card = (released / "README.md").read_text("utf-8")
    for name in ("android.md", "ios.md", "web.md", "python.md", "web/index.html"):
        assert f"]({name})" in card


def test_nothing_in_it_names_a_folder_of_the_machine_that_made_it(released: Path) -> None:
    made = [str(released.parent.parent).encode(), str(Path(folder.__file__).parents[2]).encode()]
    files = [path for path in released.rglob("*") if path.is_file()]
    assert not [path for path in files if any(place in path.read_bytes() for place in made)]


def test_a_change_is_found(released: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(released, copy)
    path = copy / "bundles" / NAMES[0] / "encoder.tflite"
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 2] ^= 1
    path.write_bytes(changed)
    assert "encoder.tflite: FAILED" in checked_sums(copy).stdout
    result = told("inspect", path.parent)
    assert result.exit_code == 2 and "is not the file that was exported" in result.stderr
    (copy / "ios.md").unlink()
    assert broken_links(copy) == ["README.md: ios.md"]


def test_the_card_says_what_the_report_and_the_manifests_say(released: Path) -> None:
    text = (released / "README.md").read_text("utf-8")
    _, front, body = text.split("---\n", 2)
    head = yaml.safe_load(front)
    weights = Bundle(released / "bundles" / NAMES[0]).manifest.weights
    assert (
        head["license"] == weights.licence.lower()
        or head["license_name"] == weights.licence.lower()
    )
    assert {"tflite", "onnx", "coreml"} <= set(head["tags"])
    assert weights.sha256 in body and weights.description in body
    report = Report.model_validate_json((released / "report/report.json").read_text("utf-8"))
    assert [line.path for line in report.bundles] == [f"bundles/{name}" for name in NAMES]
    for name, line in zip(NAMES, report.tradeoffs, strict=True):
        (row,) = (row for row in body.splitlines() if row.startswith(f"| [{name}]("))
        assert f"| {line.mask_iou:.4f} |" in row and f"| {line.size_mb:.2f} |" in row


def test_golden_masks_are_small_and_the_bundles_draw_them(released: Path) -> None:
    golden = golden_of(released)
    assert sum(p.stat().st_size for p in golden.iterdir()) <= 3_000_000
    for name in NAMES:
        result = told("inspect", released / "bundles" / name, "--golden", golden)
        assert result.exit_code == 0, result.output
        drawn = re.search(r"golden masks: (\d+) of (\d+) as PyTorch draws them", result.stdout)
        assert drawn and drawn[1] == drawn[2] and int(drawn[1]) >= 4, name


def test_a_wrong_golden_mask_is_found(released: Path, tmp_path: Path) -> None:
    golden = tmp_path / "golden"
    shutil.copytree(golden_of(released), golden)
    index = json.loads((golden / INDEX_NAME).read_text("utf-8"))
    for case in index["cases"]:
        for name in case["masks"]:
            mask = np.asarray(Image.open(golden / name))
            Image.fromarray(np.roll(mask, 9, axis=1)).save(golden / name)
    for name in NAMES:
        result = told("inspect", released / "bundles" / name, "--golden", golden)
        assert result.exit_code == 1 and "wrong: " in result.stderr, name
    index["weights_sha256"] = "0" * 64
    (golden / INDEX_NAME).write_text(json.dumps(index), "utf-8")
    result = told("inspect", released / "bundles" / NAMES[0], "--golden", golden)
    assert result.exit_code == 2 and "masks of other weights" in result.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("stand_ins")
def test_parity_judges_the_released_bundles(released: Path, report: Path) -> None:
    photos = report.parent.parent / "photos"
    result = told("parity", released / "bundles", "--images", photos, "--no-measure")
    assert result.exit_code == 0, result.output


def test_python_blocks_draw_pytorch_s_mask(
    released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.open(golden_of(released) / "photo.png").save(tmp_path / "photo.jpg")
    (tmp_path / "bundles").symlink_to(released / "bundles")
    monkeypatch.chdir(tmp_path)
    wanted = wanted_mask()
    found = blocks(released / "python.md", "python")
    assert len(found) == 2 * len(NAMES) - 1  # Core ML has no runtime of its own here
    for text in found:
        names: dict[str, np.ndarray] = {}
        exec(compile(text, "python.md", "exec"), names)
        assert names["mask"].dtype == np.bool_ and names["mask"].shape == wanted.shape
        # A full mask has the frame's outline, which is coarser than the photo's.
        assert iou(names["mask"], wanted) >= (0.9 if "-2/" in text else 0.99), text


@pytest.mark.parametrize("kind", ["sam", "normalized"])
def test_other_interfaces_draw_pytorch_s_mask_too(
    kind: str, released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {"input_variant": "normalized"}
    if kind == "sam":
        asked = {"options": ONNXOptions(interface="sam")}
    bundle = exported(tiny_model(), f"tiny-page-{kind}", "onnx", ["fp32"], **asked)["fp32"]
    golden = golden_of(released)
    assert all(each.passed for each in compare_masks(bundle, golden))
    Image.open(golden / "photo.png").save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "python.md").write_text(python_page.page([Listed("x", str(bundle.path), bundle)]))
    masks = []
    for text in blocks(tmp_path / "python.md", "python"):
        names: dict[str, np.ndarray] = {}
        exec(compile(text, "python.md", "exec"), names)
        masks.append(names["mask"])
    assert len(masks) == 2 and iou(masks[0], masks[1]) >= 0.99
    assert iou(masks[1], wanted_mask()) >= 0.99


def test_demo_weights_come_with_their_card_and_licence(
    released: Path, report: Path, tmp_path: Path
) -> None:
    bundle = Bundle(released / "bundles" / NAMES[0])
    said = {"name": "demo", "licence": "Apache-2.0", "source": "/home/someone/demo.safetensors"}
    weights = bundle.manifest.weights.model_copy(update=said)
    bundle.manifest = bundle.manifest.model_copy(update={"weights": weights})
    each = Listed(NAMES[0], f"bundles/{NAMES[0]}", bundle)
    folder._write_weights(tmp_path, [each])
    judged = Report.model_validate_json((released / "report/report.json").read_text("utf-8"))
    own = judged.model_copy(update={"bundles": judged.bundles[:1]})
    text = card([each], own, {NAMES[0]: "golden/x"}, with_page=False)
    (tmp_path / "README.md").write_text(text, "utf-8")
    assert (tmp_path / "LICENSE").is_file()
    assert "](weights/README.md)" in text and "/home/someone" not in text
    assert [link for link in broken_links(tmp_path) if "weights" in link or "../" in link] == []
    assert yaml.safe_load(text.split("---\n")[1])["license"] == "apache-2.0"


def test_what_is_refused(four: list[Bundle], report: Path, released: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    judged = json.loads(report.read_text("utf-8"))
    judged["bundles"][0] |= {"verdict": "FAIL", "reasons": ["a mask is wrong"]}
    failed = tmp_path / "report.json"
    failed.write_text(json.dumps(judged), "utf-8")
    with pytest.raises(InputError, match=r"FAILED on litert \(a mask is wrong\).*--allow-failed"):
        write_release(four, out, report=failed, page=False)
    judged["bundles"][0]["manifest_sha256"] = "0" * 64
    failed.write_text(json.dumps(judged), "utf-8")
    with pytest.raises(InputError, match="the report is not of .* as it is now"):
        write_release(four, out, report=failed, allow_failed=True, page=False)
    failed.write_text("{}", "utf-8")
    with pytest.raises(InputError, match="is not a report of"):
        write_release(four, out, report=failed, page=False)
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    with pytest.raises(InputError, match="is not a release"):
        write_release(four, tmp_path, report=report, overwrite=True, page=False)
    with pytest.raises(InputError, match="not empty: .* with --overwrite"):
        write_release(four, released, report=report, page=False)


@pytest.mark.usefixtures("stand_ins")
def test_an_earlier_release_is_replaced_and_a_failed_bundle_named(
    four: list[Bundle], report: Path, released: Path, tmp_path: Path
) -> None:
    judged = json.loads(report.read_text("utf-8"))
    judged["bundles"][0] |= {"verdict": "FAIL", "reasons": ["a mask is wrong"]}
    failed = tmp_path / "report.json"
    failed.write_text(json.dumps(judged), "utf-8")
    out = tmp_path / "out"
    out.mkdir()
    (out / SUMS).write_text("", "utf-8")
    (out / "earlier.txt").write_text("", "utf-8")
    made = told(
        *("release", four[0].path, "--out", out, "--report", failed),
        *("--allow-failed", "--overwrite", "--no-web"),
    )
    assert made.exit_code == 0, made.output
    assert not (out / "earlier.txt").exists() and not (out / "web").exists()
    assert "FAILED: a mask is wrong" in (out / "README.md").read_text("utf-8")
    assert (out / "bundles" / NAMES[0] / MANIFEST_NAME).is_file()
    assert broken_links(out) == [] and checked_sums(out).returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "report.json"]
