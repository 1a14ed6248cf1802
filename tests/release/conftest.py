"""A release of four bundles, of which each has another interface, as a receiver gets it."""

from pathlib import Path

import pytest

from mobilesam.files import write_whole
from mobilesam.runtimes.bundle import Bundle
from parity import compare
from parity.release import folder as release_folder
from parity.release import write_release
from tests.parity.fakes import write_photos
from tests.parity.replay_folders import loadable
from tests.shared_bundles import exported
from tests.tiny_bundles import tiny_bundle, tiny_model


def stand_in_page(folder: Path) -> Path:
    """What stands in for a built page."""
    for name in ("index.html", ".built", "litert/litert.wasm", "onnx/ort.wasm", "mobilesam.js"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_whole(folder / name, name)
    return folder


@pytest.fixture(scope="session")
def four() -> list[Bundle]:
    """Planes and four masks, bytes in two orders, one mask that the graph chose, Core ML."""
    of_bytes = exported(
        *(tiny_model(), "tiny-rgba-full", "tflite", ["fp32"]),
        input_variant="uint8",
        channel_order="rgba",
        masks="full",
    )
    bgr = exported(
        *(tiny_model(), "tiny-bgr", "onnx", ["fp32"]), input_variant="uint8", channel_order="bgr"
    )
    return [tiny_bundle("tflite"), of_bytes["fp32"], bgr["fp32"], tiny_bundle("coreml")]


@pytest.fixture(scope="session")
def report(four: list[Bundle], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``report.json`` of the bundles."""
    folder = tmp_path_factory.mktemp("judged")
    with pytest.MonkeyPatch.context() as patch:
        loadable(patch, four[0])
        photos = write_photos(folder / "photos")
        judged = compare(four, images=photos, measure=False, progress=False)
    assert judged.passed, [(bundle.bundle, bundle.reasons) for bundle in judged.bundles]
    return judged.save(folder / "report")["json"]


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stands in for a built page."""
    return stand_in_page(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="session")
def released(
    four: list[Bundle], report: Path, page: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The release; to be read only."""
    folder = tmp_path_factory.mktemp("released")
    with pytest.MonkeyPatch.context() as patch:
        _stand_in(patch, four, page)
        write_release(four, folder / "release", report=report, progress=False)
    return folder / "release"


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch, four: list[Bundle], page: Path) -> None:
    """Let a test load what the bundles were exported from, and release with the page."""
    _stand_in(monkeypatch, four, page)


def _stand_in(patch: pytest.MonkeyPatch, four: list[Bundle], page: Path) -> None:
    loadable(patch, four[0])
    patch.setattr(release_folder, "built_page", lambda **_: page)
