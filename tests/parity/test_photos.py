"""Photos are decoded once and checked before the first long step; what is broken is named."""

import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer.testing
from PIL import Image
from rich.console import Console

from mobilesam.bundle.prompt_types import Subject, remaining_prompts
from mobilesam.errors import InputError
from mobilesam.model.sam import MobileSAM
from mobilesam.runtimes.base import Arrays
from mobilesam_cli import app
from parity import image_folder, judging, origin
from parity.cases import PromptedPhoto
from parity.comparison import compare
from parity.evaluation import job as scoring
from parity.evaluation import subset as checking
from parity.evaluation.evaluate import evaluate
from parity.image_folder import folder_photos
from parity.mixed_precision import workbench as searching
from parity.photos import require_usable, stored_photos
from parity.report import Report, print_report
from tests.masked_folders import NAMES, write_masked
from tests.parity.fakes import ModuleRunner, demo_model, without_audits, write_bundle

Loaded = list[str]


def run(*arguments: str | Path) -> typer.testing.Result:
    """The command line in this process."""
    return typer.testing.CliRunner().invoke(app, [str(part) for part in arguments])


def noise(size: tuple[int, int], seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)
    return Image.fromarray(pixels)


def write_jpegs(folder: Path, count: int) -> Path:
    folder.mkdir()
    for index in range(count):
        noise((48, 64), index).save(folder / f"{index:02}.jpg", quality=95)
    return folder


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle", demo_model())


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Loaded:
    """What was loaded, in order: the model, and runners of bundles, which the modules stand for."""
    seen: Loaded = []

    def load(*_: object, **__: object) -> MobileSAM:
        seen.append("model")
        return demo_model()

    def open_runner(bundle: object, runtime: str, **given: object) -> ModuleRunner:
        seen.append("bundle")
        return ModuleRunner(bundle, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(origin, "load_model", load)
    without_audits(monkeypatch)
    monkeypatch.setattr(judging, "open_runner", open_runner)
    monkeypatch.setattr(scoring, "load_model", lambda *_, **__: load())
    return seen


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of photos as they are decoded."""
    seen: list[str] = []
    for module in (image_folder, scoring, checking):
        load = module.load_image

        def counted(path: Path, load: Callable[[Path], np.ndarray] = load) -> np.ndarray:
            seen.append(path.name)
            return load(path)

        monkeypatch.setattr(module, "load_image", counted)
    return seen


def judged(bundles: object, folder: Path, **more: object) -> Report:
    settings = {"images": folder, "measure": False, "progress": False} | more
    return compare(bundles, **settings)  # type: ignore[arg-type]


def test_one_truncated_photo_among_forty_is_named_before_anything_is_loaded(
    tmp_path: Path, bundle: Path, loaded: Loaded
) -> None:
    folder = write_jpegs(tmp_path / "photos", 40)
    truncate(folder / "39.jpg")
    with pytest.raises(InputError, match=r"^1 of 40 photos cannot be used: 39\.jpg: .*truncated"):
        judged(bundle, folder)
    assert loaded == []
    report = tmp_path / "report"
    done = run("parity", bundle, "--images", folder, "--no-measure", "--report", report)
    assert done.exit_code == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "39.jpg" in line and line.endswith("go on without them with --skip-unusable")
    assert not report.exists() and loaded == []


def test_all_that_are_broken_are_named_at_once(tmp_path: Path, bundle: Path) -> None:
    folder = write_jpegs(tmp_path / "photos", 8)
    truncate(folder / "01.jpg")
    (folder / "02.jpg").write_text("a letter")
    (folder / "03.jpg").write_bytes(b"")
    Image.new("RGB", (1, 1)).save(folder / "04.jpg")
    Image.new("RGB", (9000, 3)).save(folder / "05.jpg")
    given = folder_photos(folder)
    (folder / "06.jpg").unlink()  # after the folder was listed
    with pytest.raises(InputError) as caught:
        require_usable(given, [64])
    said = str(caught.value)
    assert said.startswith("6 of 8 photos cannot be used: ")
    for name, reason in (
        ("01.jpg", "truncated or damaged"),
        ("02.jpg", "is not an image"),
        ("03.jpg", "is empty"),
        ("04.jpg", "is 1x1 pixels"),
        ("05.jpg", "too elongated"),
        ("06.jpg", "There is no image file"),
    ):
        assert f"{name}: " in said and reason in said
    assert "00.jpg" not in said and "07.jpg" not in said
    assert "\n" not in said
    (folder / "07.jpg").unlink()
    (folder / "00.jpg").unlink()
    with pytest.raises(InputError, match="none of 5 photos can be used"):
        require_usable(folder_photos(folder), [64], skip_unusable=True)


def test_a_photo_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    def forbidden() -> np.ndarray:
        raise PermissionError(13, "Permission denied", "locked.jpg")

    photos = [
        PromptedPhoto("locked.jpg", forbidden, Subject.middle),
        PromptedPhoto("open.jpg", lambda: np.zeros((20, 30, 3), np.uint8), Subject.middle),
    ]
    with pytest.raises(InputError, match=r"1 of 2 .* locked\.jpg: .*Permission denied"):
        require_usable(photos, [64])
    with stored_photos(photos, [64], skip_unusable=True) as (kept, unusable):
        assert [photo.name for photo in kept] == ["open.jpg"]
        assert [one.image for one in unusable] == ["locked.jpg"]


def spoil_masked(folder: Path) -> Path:
    """Three photos described by a manifest; of the first the label image is of another size, of
    the second it is missing, and a fourth is listed only."""
    Image.new("L", (10, 10)).save(folder / "masks" / "a.png")
    (folder / "masks" / "b.png").unlink()
    manifest = json.loads((folder / "manifest.json").read_text())
    extra = manifest["images"][2] | {"file": "images/gone.png"}
    manifest["images"].append(extra)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_label_images_are_checked_with_their_photos(
    tmp_path: Path, bundle: Path, loaded: Loaded
) -> None:
    folder = spoil_masked(write_masked(tmp_path / "masked"))
    for refused in (
        lambda: judged(bundle, folder),
        lambda: evaluate("demo", folder, image_size=64),
    ):
        with pytest.raises(InputError) as caught:
            refused()
        said = str(caught.value)
        assert said.startswith("3 of 4 photos cannot be used: ")
        for reason in ("is 10 x 10, but its image is 96 x 72", "b.png", "no image file at"):
            assert reason in said
    assert loaded == []


def test_skipping_goes_on_without_them_and_the_report_lists_them(
    tmp_path: Path, bundle: Path, loaded: Loaded
) -> None:
    folder = write_jpegs(tmp_path / "photos", 3)
    truncate(folder / "01.jpg")
    report = judged(bundle, folder, skip_unusable=True)
    (own,) = report.bundles
    assert report.passed, own.reasons
    assert report.images == ["00.jpg", "02.jpg", "00.jpg (wide strip)", "02.jpg (tall strip)"]
    (left_out,) = report.unusable_images
    assert left_out.image == "01.jpg" and "truncated" in left_out.reason
    assert {case.image for case in own.cases} == set(report.images)
    files = report.save(tmp_path / "report")
    stored = json.loads(files["json"].read_text())
    assert [one["image"] for one in stored["unusable_images"]] == ["01.jpg"]
    for kind in ("md", "html"):
        page = files[kind].read_text()
        assert "Photos that could not be used" in page and "01.jpg" in page
    shown = io.StringIO()
    print_report(report, Console(file=shown, width=200))
    assert "left out 01.jpg" in shown.getvalue()
    few = "1 of 3 photos cannot be used, which leaves 2 only, too few to tell much of others."
    assert few in report.warnings
    assert few in shown.getvalue() and few in files["md"].read_text()


def test_a_photo_is_decoded_once_and_a_prompt_prepared_once_for_each_bundle(
    tmp_path: Path, loaded: Loaded, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_masked(tmp_path / "masked")
    bundles = [
        write_bundle(tmp_path / "pixels", demo_model()),
        write_bundle(tmp_path / "normalized", demo_model(), input_variant="normalized"),
    ]
    prepared: list[object] = []
    prepare = ModuleRunner.prepare_prompt

    def counted(self: ModuleRunner, *given: object) -> Arrays:
        prepared.append(given)
        return prepare(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(ModuleRunner, "prepare_prompt", counted)
    report = judged(bundles, folder)
    assert report.passed and all(own.worst_picture for own in report.bundles) and report.gallery
    assert sorted(decoded) == ["a.png", "b.png", "c.png"]
    rows = remaining_prompts(Subject.middle((60, 80)), (60, 80), 8)
    assert len(prepared) == 2 * (3 * 8 + len(rows) + 2 * 2)  # every photo, the rest once, strips


def test_a_photo_that_is_deleted_while_the_run_goes_on_is_not_missed(
    tmp_path: Path, bundle: Path, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_jpegs(tmp_path / "photos", 2)
    whole = judged(bundle, folder)

    class Deletes(ModuleRunner):
        def load(self) -> None:
            super().load()
            (folder / "01.jpg").unlink()

    monkeypatch.setattr(judging, "open_runner", lambda of, _, **given: Deletes(of, **given))
    report = judged(bundle, folder)
    assert not (folder / "01.jpg").exists()
    assert report.bundles[0].cases == whole.bundles[0].cases and report.passed


def lose(stored: Path, *names: str) -> None:
    """Remove decoded photos from the temporary folder, by their place."""
    (folder,) = stored.glob("mobilesam-photos-*")
    for name in names:
        (folder / name).unlink()


@pytest.mark.parametrize(
    "lost", [["1.npy"], ["0.npy", "1.npy", "wide.npy", "tall.npy"]], ids=["one", "all"]
)
def test_a_photo_that_breaks_during_the_run_costs_its_cases_not_the_report(
    tmp_path: Path, bundle: Path, loaded: Loaded, monkeypatch: pytest.MonkeyPatch, lost: list[str]
) -> None:
    folder = write_jpegs(tmp_path / "photos", 2)
    stored = tmp_path / "temporary"
    stored.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(stored))

    class Loses(ModuleRunner):
        def load(self) -> None:
            super().load()
            lose(stored, *lost)

    monkeypatch.setattr(judging, "open_runner", lambda of, _, **given: Loses(of, **given))
    report = judged(bundle, folder)
    (own,) = report.bundles
    assert len(own.notes) == len(lost)
    assert all(" cases were not judged" in note for note in own.notes)
    if len(lost) == 1:
        assert own.verdict == "PASS"
        assert {case.image for case in own.cases} == set(report.images) - {"01.jpg"}
    else:
        assert own.verdict == "FAIL" and own.cases == []
        assert any("no value" in reason for reason in own.reasons)


def test_a_photo_that_breaks_before_pytorch_is_asked_is_listed(
    tmp_path: Path, bundle: Path, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_jpegs(tmp_path / "photos", 2)
    stored = tmp_path / "temporary"
    stored.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(stored))

    def load(*_: object, **__: object) -> MobileSAM:
        lose(stored, "1.npy")
        return demo_model()

    monkeypatch.setattr(origin, "load_model", load)
    report = judged(bundle, folder)
    assert [one.image for one in report.unusable_images] == ["01.jpg"]
    judged_images = {case.image for case in report.bundles[0].cases}
    assert judged_images == set(report.images) - {"01.jpg"} and report.passed


def test_nothing_decoded_is_left_behind(
    tmp_path: Path, bundle: Path, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_jpegs(tmp_path / "photos", 2)
    stored = tmp_path / "temporary"
    stored.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(stored))
    assert judged(bundle, folder).passed
    truncate(folder / "00.jpg")
    with pytest.raises(InputError):
        judged(bundle, folder)
    assert list(stored.iterdir()) == []


def test_evaluating_skips_and_lists(tmp_path: Path, loaded: Loaded, decoded: list[str]) -> None:
    folder = spoil_masked(write_masked(tmp_path / "masked"))
    result = evaluate("demo", folder, image_size=64, skip_unusable=True, progress=False)
    assert {segment.image for segment in result.segments} == {NAMES[2]}
    assert len(result.unusable_images) == 3
    assert decoded.count("c.png") == 2, "once to check it, once to ask about it"
    options = ("--images", folder, "--image-size", "64", "--skip-unusable")
    done = run("evaluate", *options)
    assert done.exit_code == 0, done.output
    assert done.stderr.count("note: left out ") == 3
    assert "note: 3 of 4 photos cannot be used, which leaves 1 only, too few" in done.stderr


def test_a_photo_that_is_deleted_while_others_are_scored_costs_its_segments(
    tmp_path: Path, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_masked(tmp_path / "masked")

    def load(*_: object, **__: object) -> MobileSAM:
        (folder / NAMES[1]).unlink()
        return demo_model()

    monkeypatch.setattr(scoring, "load_model", load)
    result = evaluate("demo", folder, image_size=64, progress=False)
    assert {segment.image for segment in result.segments} == {NAMES[0], NAMES[2]}
    assert [one.image for one in result.unusable_images] == [NAMES[1]]


def test_a_search_looks_at_its_photos_before_it_exports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export(**_: object) -> None:
        raise AssertionError("exported")

    monkeypatch.setattr(searching, "export", export)
    folder, others = (write_jpegs(tmp_path / name, 2) for name in ("photos", "others"))
    truncate(folder / "00.jpg")
    options = ("--work", tmp_path / "work", "--image-size", "64", "--json")
    for command in ("search", "sensitivity"):
        done = run(command, "--images", folder, *options)
        assert done.exit_code == 2 and "1 of 2 photos cannot be used: 00.jpg" in done.stderr
    done = run("search", "--images", others, "--confirm-images", folder, *options)
    assert done.exit_code == 2 and "1 of 2 photos cannot be used: 00.jpg" in done.stderr
    for images, confirm in ((folder, others), (others, folder)):
        ask = ("search", "--images", images, "--confirm-images", confirm, "--skip-unusable")
        said = run(*ask, *options).stderr
        assert "note: 1 of 2 photos cannot be used, which leaves 1 only, too few" in said
        assert "left out 00.jpg: " in said and "truncated" in said


def test_strips_are_cut_from_photos_that_show_something() -> None:
    def photo(name: str, pixels: np.ndarray) -> PromptedPhoto:
        return PromptedPhoto(name, lambda: pixels, Subject.middle)

    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    red = np.zeros((120, 160, 3), np.uint8)
    red[..., 0] = 200
    shown = [photo("red", red), photo("a", noise), photo("b", noise), photo("dark", red // 50)]
    with stored_photos(shown, [64], strips=True) as photos:
        assert [each.name for each in photos.photos[4:]] == ["a (wide strip)", "b (tall strip)"]
    with stored_photos(shown[:1], [64], strips=True) as photos:
        assert [each.name for each in photos.photos] == ["red"]
