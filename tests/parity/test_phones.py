"""Judging on every kind of hardware, with parts made up for it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from converters.executorch.options import ExecuTorchOptions
from converters.lookup import resolve
from mobilesam.emulators import EMULATORS, emulator
from mobilesam.errors import InputError, MissingDependencyError
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.table import ARM, HARDWARE, RUNNERS, X86
from parity.phones import run as phones
from parity.phones.parts import PARTS, Part
from parity.report import Report
from parity.thresholds import DEFAULT_FILE
from tests.parity import report_samples


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tiny_bundle: Callable[..., Bundle]) -> list[str]:
    """Two parts with made-up verdicts and one that cannot be set up; what is judged, in order."""
    found: list[str] = []
    bundle = tiny_bundle("torchscript").path

    def part(hardware: str, **more: Any) -> Part:
        def judge(bundles: Sequence[Path], images: Path | None, progress: bool) -> Report:
            assert bundles == [bundle]
            found.append(hardware)
            return report_samples.report(report_samples.bundle(hardware=hardware, image_size=64))

        return Part(hardware, 64, {"torchscript": ("fp32",)}, judge, **more)

    def missing(runtime: str) -> None:
        raise MissingDependencyError(f"'{runtime}' is not here: get it")

    parts = {"x86": part(X86), "arm": part(ARM), "npu": part("NPU", runtimes=("npu",))}
    monkeypatch.setattr(phones, "PARTS", parts)
    monkeypatch.setattr(phones, "runner_class", missing)
    monkeypatch.setattr(phones, "_export", lambda *_: [bundle])
    return found


def test_one_report_of_all_parts_that_can_be_judged(asked: list[str], tmp_path: Path) -> None:
    said: list[str] = []
    made = phones.check_phones(tmp_path / "out", tmp_path / "report", say=said.append)
    assert asked == [X86, ARM]
    assert [bundle.hardware for bundle in made.bundles] == [X86, ARM]
    assert made.machine["npu, not judged"] == "'npu' is not here: get it"
    assert "npu was left out: 'npu' is not here: get it" in said
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Where it runs" in page and "get it" in page


def test_what_was_judged_is_not_judged_again(asked: list[str], tmp_path: Path) -> None:
    again = lambda **more: phones.check_phones(tmp_path / "out", tmp_path / "report", **more)  # noqa: E731
    again(only=["x86"])
    again()
    assert asked == [X86, ARM]
    again(force=True)
    assert asked == [X86, ARM, X86, ARM]
    (kept,) = (tmp_path / "report" / "parts" / "arm").glob("*.json")
    kept.write_text(json.dumps({"half": "written"}))
    again()
    assert asked == [X86, ARM, X86, ARM, ARM]


def test_other_photos_are_judged_anew(asked: list[str], tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for names in ((), ("one.jpg",), ("one.jpg",)):
        for name in names:
            (photos / name).write_bytes(b"photo")
        phones.check_phones(tmp_path / "out", tmp_path / "report", only=["x86"], images=photos)
    assert asked == [X86, X86]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (("[fp32.encoder]\nrelative_l2 = 1e-4", "[fp32.encoder]\nrelative_l2 = 2e-4"), [X86, ARM]),
        (("[fp16.encoder]\nrelative_l2 = ", "[fp16.encoder]\nrelative_l2 = 1"), []),
    ],
)
def test_a_bundle_is_judged_anew_when_its_own_limits_change(
    asked: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: tuple[str, str],
    part: list[str],
) -> None:
    phones.check_phones(tmp_path / "out", tmp_path / "report")
    before = DEFAULT_FILE.read_text("utf-8")
    after = before.replace(*change)
    assert after != before
    file = tmp_path / "limits.toml"
    file.write_text(after, "utf-8")
    monkeypatch.setattr("parity.thresholds.DEFAULT_FILE", file)
    phones.check_phones(tmp_path / "out", tmp_path / "report")
    assert asked == [X86, ARM, *part]


def test_an_unknown_part_and_none_that_can_be_judged(asked: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no part 'gpus', only x86, arm, npu"):
        phones.check_phones(tmp_path / "out", tmp_path / "report", only=["x86", "gpus"])
    with pytest.raises(InputError, match="no part could be judged: 'npu' is not here"):
        phones.check_phones(tmp_path / "out", tmp_path / "report", only=["npu"])
    assert not (tmp_path / "report").exists()


def test_the_parts_fit_the_tables() -> None:
    for part in PARTS.values():
        assert part.hardware in HARDWARE
        assert part.emulator is None or part.emulator in EMULATORS
        assert set(part.runtimes) <= set(RUNNERS)
        backends = {target: options.lowered_to() for target, options in part.options.items()}
        for target, schemes in part.pairs.items():
            assert resolve([target], schemes, backends)


def test_bundles_of_other_options_lie_in_a_folder_of_their_own(
    tiny_bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folders: list[tuple[Path, Any]] = []

    def export(weights: str, **given: Any) -> list[Bundle]:
        folders.append((given["out"], given["options"]))
        return [tiny_bundle("torchscript")]

    def judge(bundles: Sequence[Path], images: Path | None, progress: bool) -> Report:
        return report_samples.report(report_samples.bundle(hardware=X86, image_size=64))

    options = {"executorch": ExecuTorchOptions(backend="coreml")}
    parts = {
        "usual": Part(X86, 64, {"executorch": None}, judge),
        "other": Part(X86, 64, {"executorch": None}, judge, options=options),
    }
    monkeypatch.setattr(phones, "PARTS", parts)
    monkeypatch.setattr(phones, "export", export)
    phones.check_phones(tmp_path / "out", tmp_path / "report")
    (usual, nothing), (other, given) = folders
    assert usual == tmp_path / "out" / "64" and not nothing
    assert other != usual and other.parent == tmp_path / "out" and given == options


@pytest.mark.parametrize("name", EMULATORS)
def test_an_emulator_that_is_missing_says_how_to_get_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mobilesam.emulators.cache_folder", lambda: tmp_path)
    sentence = emulator(name).missing()
    assert sentence == "" or len(sentence.splitlines()) == 1
