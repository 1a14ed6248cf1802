"""The sample apps with a bundle in them, from a clone and from an installed package."""

import json
import shutil
from pathlib import Path

import pytest

from mobilesam.apps import sources
from mobilesam.apps.layout import listed
from mobilesam.apps.new_app import Platform, new_app
from mobilesam.apps.sources import SHIPPED
from mobilesam.errors import BundleError, InputError, MissingDependencyError
from mobilesam.runtimes.bundle import Bundle
from tests.release.test_release import broken_links
from tests.tiny_bundles import tiny_bundle

PLACES: dict[Platform, tuple[str, str]] = {
    "android": ("tflite", "sample/src/main/assets/tflite-fp32"),
    "ios": ("coreml", "Sample/coreml-fp32"),
    "web": ("onnx", "public/bundles/onnx-fp32"),
}


@pytest.mark.parametrize("installed", [False, True])
@pytest.mark.parametrize("platform", PLACES)
def test_the_sample_holds_the_bundle_and_names_it(
    platform: Platform,
    installed: bool,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if installed:
        for path, place in SHIPPED.items():
            shipped = tmp_path / "source" / place
            shipped.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (repository / path).is_dir() else shutil.copyfile
            copy(repository / path, shipped)
        monkeypatch.setattr(sources, "_CLONE", tmp_path / "no clone")
        monkeypatch.setattr(sources, "_INSTALLED", tmp_path / "source")
    target, place = PLACES[platform]
    out = tmp_path / "app"
    new_app(platform, tiny_bundle(target), out)
    Bundle(out / place).verify()
    assert broken_links(out) == []
    named = {
        "android": ("sample/src/main/kotlin/mobilesam/sample/SampleActivity.kt", '"tflite-fp32"'),
        "ios": ("Sample/SegmentationView.swift", '"coreml-fp32"'),
        "web": ("public/bundles.json", '"bundles/onnx-fp32"'),
    }[platform]
    assert named[1] in (out / named[0]).read_text("utf-8")
    texts = [p.read_text("utf-8") for p in out.rglob("*") if p.suffix in (".kt", ".swift", ".kts")]
    assert not any('-fp16"' in text or "VECTORS" in text for text in texts)
    with pytest.raises(InputError, match="not empty"):
        new_app(platform, tiny_bundle(target), out)


def test_the_page_s_build_finds_its_sources(tmp_path: Path) -> None:
    new_app("web", tiny_bundle("tflite"), tmp_path / "app")
    scripts = json.loads((tmp_path / "app/package.json").read_text("utf-8"))["scripts"]
    assert scripts["build"] == "node build.mjs" and (tmp_path / "app/build.mjs").is_file()
    assert (tmp_path / "app/src/app.ts").is_file()


@pytest.mark.parametrize(
    ("platform", "wrong", "right"),
    [
        ("android", "onnx", "tflite"),
        ("ios", "tflite", "coreml"),
        ("web", "coreml", "tflite"),
    ],
)
def test_a_bundle_of_another_target_is_refused(
    platform: Platform, wrong: str, right: str, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match=right):
        new_app(platform, tiny_bundle(wrong), tmp_path / "app")
    assert not list(tmp_path.iterdir())


def test_a_bundle_that_scales_itself_is_for_the_web_alone(tmp_path: Path) -> None:
    bundle = Bundle(tiny_bundle("tflite").path)
    bundle.manifest = bundle.manifest.model_copy(update={"photo_size": (70, 101)})
    for platform in ("android", "ios"):
        with pytest.raises(BundleError, match="export it without --resize"):
            new_app(platform, bundle, tmp_path / "app")
    with pytest.raises(BundleError, match="export it without --resize"):
        listed([bundle], "bundles")
    assert not list(tmp_path.iterdir())
    new_app("web", bundle, tmp_path / "app")
    code = (tmp_path / "app/README.md").read_text("utf-8")
    assert '"photoSize": [\n    70,\n    101\n  ]' in code


def test_missing_sources_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_CLONE", tmp_path)
    monkeypatch.setattr(sources, "_INSTALLED", tmp_path)
    with pytest.raises(MissingDependencyError, match="install mobilesam-export again"):
        new_app("android", tiny_bundle("tflite"), tmp_path / "app")
