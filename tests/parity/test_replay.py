"""Packed here, run with a runtime alone, judged here: the same report as without the journey."""

import json
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from mobilesam.bundle.prompt_types import PROMPT_TYPES
from mobilesam.errors import BundleError, InputError
from mobilesam.runtimes.bundle import Bundle
from parity import compare
from parity.replay.merge import merge
from parity.replay.pack import Packed, pack
from parity.replay.run import INDEX, RESULT
from parity.replay.schema import read_pack, result_files
from parity.schema import Measurement
from tests.masked_folders import write_masked
from tests.parity.fakes import demo_model, write_bundle
from tests.parity.replay_folders import loadable, minimal_python, record_again, run_script

NAME = "onnx-fp32.onnxruntime"


@pytest.fixture(scope="module")
def onnx(tiny_bundle: Callable[..., Bundle]) -> Bundle:
    return tiny_bundle("onnx")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos with human-made masks."""
    return write_masked(tmp_path_factory.mktemp("replay-photos") / "masked")


@pytest.fixture(scope="module")
def tiny(onnx: Bundle) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        loadable(patch, onnx)
        yield


@pytest.fixture(scope="module")
def packed(
    tmp_path_factory: pytest.TempPathFactory, onnx: Bundle, photos: Path, tiny: None
) -> Packed:
    """A pack of the ONNX bundle that was run by an interpreter with ONNX Runtime alone."""
    folder = tmp_path_factory.mktemp("replay")
    made = pack([onnx.path], folder / "pack", images=photos, progress=False)
    python = minimal_python(folder / "venv")
    done = run_script(python, made.folder, "--threads", "1")
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture
def copy(packed: Packed, tmp_path: Path) -> Path:
    """A copy of the pack with its results, to be changed."""
    return shutil.copytree(packed.folder, tmp_path / "copy")


def change(folder: Path, file: str, edit: Callable[[dict[str, np.ndarray]], object]) -> None:
    """Change arrays of a result, and its digest with them."""
    results = folder / "results" / NAME
    with np.load(results / file) as stored:
        arrays = dict(stored)
    edit(arrays)
    np.savez(results / file, allow_pickle=False, **arrays)
    record_again(results, RESULT, file)


def close(ours: object, theirs: object) -> bool:
    """Equal but for a millionth."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return set(ours) == set(theirs) and all(close(ours[k], theirs[k]) for k in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(close, ours, theirs))
    if isinstance(ours, float):
        return ours == pytest.approx(theirs, abs=1e-6, rel=1e-6, nan_ok=True)
    return ours == theirs


def test_the_report_is_the_one_without_the_journey(
    packed: Packed, onnx: Bundle, photos: Path
) -> None:
    merged = merge([packed.folder], progress=False)
    direct = compare([onnx.path], images=photos, threads=1, measure=False, progress=False)
    (ours,), (theirs,) = merged.bundles, direct.bundles
    assert theirs.verdict == "PASS", theirs.reasons
    assert len(ours.cases) > 3 * 2 * 8  # what every photo is asked, and the rest
    assert {case.prompt_type for case in ours.cases} == set(PROMPT_TYPES)
    for part in ("verdict", "reasons", "notes", "encoder", "cases", "checks", "worst_case"):
        ours_part, theirs_part = (report.model_dump()[part] for report in (ours, theirs))
        assert close(ours_part, theirs_part), part
    assert any(case.human_iou_export is not None for case in ours.cases)
    assert ours.worst_picture == theirs.worst_picture
    assert ours.size_bytes == theirs.size_bytes
    assert merged.weights == direct.weights and merged.images == direct.images
    assert merged.gallery == direct.gallery
    assert merged.passed


def test_photos_that_were_left_out_are_listed_in_the_report(
    packed: Packed, onnx: Bundle, tmp_path: Path, tiny: None
) -> None:
    photos = write_masked(tmp_path / "masked")
    (photos / "images" / "b.png").write_text("a letter")
    with pytest.raises(InputError, match=r"1 of 3 photos cannot be used: b\.png .*not an image"):
        pack([onnx.path], tmp_path / "pack", images=photos, progress=False)
    assert not (tmp_path / "pack").exists()
    made = pack([onnx.path], tmp_path / "pack", images=photos, skip_unusable=True, progress=False)
    names = [photo.name for photo in made.index.photos]
    assert [name for name in names if "strip" not in name] == ["a.png (disc)", "c.png (disc)"]
    done = run_script(sys.executable, made.folder, "--threads", "1")
    assert done.returncode == 0, done.stderr
    report = merge([made.folder], progress=False)
    assert report.passed and report.images == names
    (left_out,) = report.unusable_images
    assert "b.png" in left_out.image and "not an image" in left_out.reason


def test_the_row_says_where_it_ran_and_what_it_cost(packed: Packed) -> None:
    (row,) = merge([packed.folder], progress=False).bundles
    assert row.engine.startswith("ONNX Runtime ") and " on Linux-" in row.engine
    assert row.runtime == "onnxruntime"
    assert [taken.component for taken in row.measurements] == ["encoder", "decoder"]
    for taken in row.measurements:
        assert isinstance(taken, Measurement) and taken.representative
        assert taken.load_s > 0 and taken.threads == 1 and taken.timing.runs >= 3
        assert 0 < taken.timing.median_s <= taken.timing.p90_s < 60
        assert taken.peak_memory_mb is not None and taken.baseline_memory_mb is not None
        assert 10 < taken.baseline_memory_mb < taken.peak_memory_mb < 500


def test_the_index_names_every_file_and_pixels_take_a_byte(packed: Packed) -> None:
    index = read_pack(packed.folder)
    results = packed.folder / "results"
    files = {
        path.relative_to(packed.folder).as_posix()
        for path in packed.folder.rglob("*")
        if path.is_file() and results not in path.parents
    }
    assert set(index.files) == files - {INDEX}
    with np.load(packed.folder / index.bundles[0].images[0]) as image:
        assert image["image"].dtype == np.uint8
    with np.load(packed.folder / index.bundles[0].prompts[0]) as prompts:
        assert {array.dtype for array in prompts.values()} == {np.dtype(np.float32)}
        refined = [case.refines for case in index.photos[0].cases].index(True)
        assert prompts[f"{refined}.has_mask_input"] == 1
        assert np.ptp(prompts[f"{refined}.mask_input"]) > 0
    assert sum(packed.size_bytes.values()) == sum(
        (packed.folder / name).stat().st_size for name in index.files
    )


def test_a_zeroed_mask_fails(copy: Path) -> None:
    def zero(arrays: dict[str, np.ndarray]) -> None:
        arrays["2.decoder.low_res_masks"][:, 1] = 0

    change(copy, "decoder-1.npz", zero)
    (row,) = merge([copy], progress=False).bundles
    assert row.verdict == "FAIL"
    failing = {(check.stage, check.metric) for check in row.checks if not check.passed}
    assert ("decoder", "logits_relative_l2") in failing
    assert not any(stage == "end_to_end" for stage, _ in failing)


def test_an_altered_embedding_is_judged_as_it_came(copy: Path) -> None:
    change(copy, "encoder-0.npz", lambda arrays: arrays["image_embeddings"].__imul__(1.01))
    (row,) = merge([copy], progress=False).bundles
    failing = {(check.stage, check.metric) for check in row.checks if not check.passed}
    assert ("encoder", "relative_l2") in failing


def test_altered_results_are_refused(copy: Path) -> None:
    with (copy / "results" / NAME / "decoder-0.npz").open("ab") as file:
        file.write(b"more")
    with pytest.raises(BundleError, match=r"decoder-0.npz' was altered"):
        merge([copy], progress=False)


def test_missing_answers_are_refused(copy: Path) -> None:
    change(copy, "decoder-0.npz", lambda arrays: arrays.pop("3.end_to_end.iou_predictions"))
    with pytest.raises(BundleError, match=r"no answer '3.end_to_end.iou_predictions'"):
        merge([copy], progress=False)
    (copy / "results" / NAME / "decoder-0.npz").unlink()
    with pytest.raises(BundleError, match=r"decoder-0.npz' is missing"):
        merge([copy], progress=False)
    path = copy / "results" / NAME / RESULT
    result = json.loads(path.read_text())
    del result["files"]["decoder-0.npz"]
    path.write_text(json.dumps(result))
    with pytest.raises(BundleError, match=r"no answers in 'decoder-0.npz'"):
        merge([copy], progress=False)


def test_results_of_another_pack_are_refused(packed: Packed, copy: Path) -> None:
    index = json.loads((copy / INDEX).read_text())
    (copy / INDEX).write_text(json.dumps(index | {"created": "yesterday"}))
    with pytest.raises(BundleError, match="answers another pack"):
        merge([copy], progress=False)
    with pytest.raises(BundleError, match="answers another pack"):
        merge([copy, packed.folder], progress=False)


def test_an_altered_pack_is_refused(copy: Path) -> None:
    (copy / "bundles" / "onnx-fp32" / "decoder.onnx").write_bytes(b"another")
    with pytest.raises(BundleError, match=r"decoder.onnx' was altered"):
        merge([copy], progress=False)
    done = run_script(sys.executable, copy)
    assert done.returncode == 2
    assert done.stderr == (
        "error: 'bundles/onnx-fp32/decoder.onnx' is not as it was packed: copy the folder again\n"
    )


def test_without_results_there_is_nothing_to_judge(copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(copy / "results")
    with pytest.raises(BundleError, match="has no results"):
        merge([copy], progress=False)
    with pytest.raises(BundleError, match="not a replay folder"):
        merge([tmp_path], progress=False)


def test_an_emulated_cpu_is_named_and_its_times_are_not(packed: Packed, copy: Path) -> None:
    """Here the machine's own CPU passes for the emulated one."""
    done = run_script(sys.executable, copy, "--threads", "1", "--emulated-cpu", "cortex-a53")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("done (emulated)") == 2 and "median" not in done.stdout
    assert "encoder ... 20% 40% 60% 80% 100% done" in done.stdout
    assert "decoder ... 10% 20% 30% " in done.stdout
    own, emulated = sorted(merge([copy], progress=False).bundles, key=lambda row: row.runtime)
    assert (own.runtime, own.notes) == ("onnxruntime", [])
    assert emulated.runtime == "onnxruntime on cortex-a53" and emulated.verdict == "PASS"
    assert emulated.engine.endswith(f"{platform.machine()} (qemu, cortex-a53)")
    assert emulated.notes == ["cortex-a53 was emulated by qemu: its times say nothing of a device."]
    assert [taken.representative for taken in own.measurements] == [True, True]
    assert [taken.representative for taken in emulated.measurements] == [False, False]


def test_a_slow_machine_is_asked_about_the_first_photo_with_every_kind_of_prompt(
    onnx: Bundle, photos: Path, tmp_path: Path, tiny: None
) -> None:
    made = pack([onnx.path], tmp_path / "pack", images=photos, brief=True, progress=False)
    (photo,) = made.index.photos
    assert photo.name == "a.png (disc)"
    kinds = [case.prompt_type for case in photo.cases]
    assert sorted(kinds) == sorted(PROMPT_TYPES)
    done = run_script(sys.executable, made.folder, "--threads", "1")
    assert done.returncode == 0, done.stderr
    (row,) = merge([made.folder], progress=False).bundles
    assert row.verdict == "PASS", row.reasons
    assert {case.prompt_type for case in row.cases} == set(PROMPT_TYPES)


def test_two_machines_are_two_rows(packed: Packed, copy: Path) -> None:
    rows = merge([packed.folder, copy], progress=False).bundles
    assert [row.verdict for row in rows] == ["PASS", "PASS"]
    assert [row.runtime for row in rows] == [
        f"onnxruntime ({folder / 'results' / NAME})" for folder in (packed.folder, copy)
    ]


def test_what_could_not_be_run_fails_with_its_sentence(copy: Path) -> None:
    path = copy / "results" / NAME / RESULT
    result = json.loads(path.read_text())
    path.write_text(json.dumps(result | {"error": "the encoder was killed by signal 11"}))
    (row,) = merge([copy], progress=False).bundles
    assert row.verdict == "FAIL"
    assert row.reasons == ["could not be run: the encoder was killed by signal 11"]


def test_a_malformed_result_is_named(copy: Path) -> None:
    path = copy / "results" / NAME / RESULT
    result = json.loads(path.read_text())
    path.write_text(json.dumps(result | {"threads": "many"}))
    with pytest.raises(BundleError, match=r"result.json is malformed at 'threads'"):
        merge([copy], progress=False)
    path.write_text(json.dumps(result | {"schema_version": "2.0"}))
    with pytest.raises(BundleError, match=r"of version 2.0, this one reads 1"):
        merge([copy], progress=False)
    path.write_text("{")
    with pytest.raises(BundleError, match="cannot be read"):
        merge([copy], progress=False)


def test_what_cannot_be_packed_is_refused(
    packed: Packed, onnx: Bundle, photos: Path, tmp_path: Path, tiny: None
) -> None:
    out = tmp_path / "out"
    torchscript = write_bundle(tmp_path / "torchscript", demo_model())
    with pytest.raises(BundleError, match="runs on torchscript"):
        pack([torchscript], out, images=photos, progress=False)
    altered = shutil.copytree(onnx.path, tmp_path / "altered")
    (altered / "encoder.onnx").write_bytes(b"another")
    with pytest.raises(BundleError, match=r"'encoder.onnx' is not the file that was exported"):
        pack([altered], out, images=photos, progress=False)
    manifest = altered / "manifest.json"
    manifest.write_text(manifest.read_text().replace(onnx.manifest.weights.sha256, "0" * 64))
    shutil.copy(onnx.path / "encoder.onnx", altered / "encoder.onnx")
    with pytest.raises(BundleError, match="was exported from the weights 000000000000…"):
        pack([altered], out, images=photos, progress=False)
    with pytest.raises(InputError, match="not empty"):
        pack([onnx.path], packed.folder, images=photos, progress=False)
    with pytest.raises(BundleError, match="no bundle was given"):
        pack([], out, images=photos, progress=False)
    assert not out.exists() and not list(tmp_path.glob(".out*"))


def test_a_pack_that_is_interrupted_leaves_nothing(
    onnx: Bundle, photos: Path, tmp_path: Path, tiny: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("parity.replay.pack.shutil.copyfile", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pack([onnx.path], tmp_path / "out", images=photos, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_two_bundles_of_one_name_share_what_they_can(
    onnx: Bundle, photos: Path, tmp_path: Path, tiny: None
) -> None:
    twin = shutil.copytree(onnx.path, tmp_path / "twin")
    index = pack([onnx.path, twin], tmp_path / "out", images=photos, progress=False).index
    first, second = index.bundles
    assert (first.name, second.name) == ("onnx-fp32", "onnx-fp32-2")
    assert (first.images, first.prompts) == (second.images, second.prompts)
    assert len(index.references) == 1


def test_litert_answers_the_same(
    tiny_bundle: Callable[..., Bundle], photos: Path, tmp_path: Path, tiny: None
) -> None:
    tflite = tiny_bundle("tflite")
    folder = pack([tflite.path], tmp_path / "pack", images=photos, progress=False).folder
    done = run_script(sys.executable, folder, "--threads", "1")
    assert done.returncode == 0, done.stderr
    (row,) = merge([folder], progress=False).bundles
    assert row.verdict == "PASS", row.reasons
    assert row.engine.startswith("LiteRT ") and "(XNNPACK)" in row.engine
    assert [path.parent.name for path in result_files(folder)] == ["tflite-fp32.litert"]


@pytest.mark.parametrize(
    ("target", "runtime", "engine"),
    [
        ("torchscript", "lite_interpreter", "lite interpreter (PyTorch "),
        ("executorch", "executorch", "ExecuTorch "),
    ],
)
def test_pytorchs_runtimes_answer_the_same(
    tiny_bundle: Callable[..., Bundle],
    photos: Path,
    tmp_path: Path,
    tiny: None,
    target: str,
    runtime: str,
    engine: str,
) -> None:
    bundle = tiny_bundle(target)
    made = pack([bundle.path], tmp_path / "pack", images=photos, brief=True, progress=False)
    assert made.index.bundles[0].runtimes == [runtime]
    done = run_script(sys.executable, made.folder, "--threads", "1")
    assert done.returncode == 0, done.stderr
    (row,) = merge([made.folder], progress=False).bundles
    assert row.verdict == "PASS", row.reasons
    assert row.engine.startswith(engine)
