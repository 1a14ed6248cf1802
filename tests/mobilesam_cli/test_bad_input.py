"""Bad input, each through the real command line: one sentence, exit status 2, nothing written."""

import errno
import json
import os
import pickle
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mobilesam.bundle.manifest import MANIFEST_NAME
from tests.mobilesam_cli.conftest import Run

Refused = Callable[..., str]


class _Code:
    """An object whose unpickling would make a folder."""

    def __reduce__(self) -> tuple:
        return os.mkdir, ("executed",)


def _truncated(path: Path) -> None:
    torch.save({"weight": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])


def _text(path: Path) -> None:
    path.write_text("not a checkpoint at all")


def _another_model(path: Path) -> None:
    torch.save({"layer1.0.conv1.weight": torch.zeros(3), "fc.weight": torch.zeros(3)}, path)


def _executes_code(path: Path) -> None:
    path.write_bytes(pickle.dumps(_Code()))


CHECKPOINTS = {
    "truncated": (_truncated, "is truncated or damaged"),
    "not a checkpoint": (_text, "is not a checkpoint"),
    "another model's": (_another_model, "is another model's: it looks like a ResNet"),
    "executes code": (_executes_code, "would execute code"),
}


@pytest.mark.parametrize("fault", CHECKPOINTS)
@pytest.mark.parametrize("command", ["export", "predict"])
def test_checkpoint(
    command: str, fault: str, refused: Refused, tmp_path: Path, photo: Path, here: Path
) -> None:
    make, expected = CHECKPOINTS[fault]
    path = tmp_path / "weights.pt"
    make(path)
    if command == "export":
        sentence = refused("export", "--target", "torchscript", "--weights", path)
    else:
        sentence = refused("predict", photo, "--point", "10,10", "--weights", path)
    assert expected in sentence
    assert not (here / "executed").exists()


def test_checkpoint_that_does_not_exist(refused: Refused, photo: Path) -> None:
    sentence = refused("predict", photo, "--point", "1,1", "--weights", "officail")
    assert "did you mean 'official'?" in sentence


def _missing(path: Path) -> None:
    assert not path.exists()


def _empty(path: Path) -> None:
    path.touch()


def _truncated_image(path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:4000])


def _not_an_image(path: Path) -> None:
    path.write_text("a letter")


def _one_pixel(path: Path) -> None:
    Image.new("RGB", (1, 1)).save(path)


def _bomb(path: Path) -> None:
    Image.new("1", (12_000, 12_000)).save(path)


IMAGES = {
    "missing": (_missing, "There is no image file"),
    "empty": (_empty, "is empty (0 bytes)"),
    "truncated": (_truncated_image, "is truncated or damaged"),
    "not an image": (_not_an_image, "is not an image"),
    "1x1": (_one_pixel, "is 1x1 pixels"),
    "decompression bomb": (_bomb, "is refused as a decompression bomb"),
}


@pytest.mark.parametrize("fault", IMAGES)
def test_image(fault: str, refused: Refused, tmp_path: Path) -> None:
    make, expected = IMAGES[fault]
    path = tmp_path / "photo.png"
    make(path)
    assert expected in refused("predict", path, "--point", "0,0")


PROMPTS = {
    "point outside": (["--point", "97,10"], "point (97, 10) is outside the image"),
    "point above": (["--point", "10,-1"], "point (10, -1) is outside the image"),
    "NaN point": (["--point", "nan,10"], "not finite"),
    "infinite box": (["--box", "1,1,inf,10"], "not finite"),
    "too large for float32": (["--point", "1e308,10"], "not finite"),
    "labels without points": (["--label", "1"], "labels were given without points"),
    "labels beside a box": (["--label", "1", "--box", "1,1,9,9"], "without points"),
    "more labels": (["--point", "1,1", "--label", "1,0"], "1 point(s) but 2 label(s)"),
    "fewer labels": (
        ["--point", "1,1", "--point", "2,2", "--label", "1"],
        "2 point(s) but 1 label(s)",
    ),
    "unknown label": (["--point", "1,1", "--label", "2"], "label 2 is not known"),
    "label of text": (["--point", "1,1", "--label", "in"], "--label takes numbers"),
    "inverted box": (["--box", "50,10,20,40"], "is inverted or empty"),
    "box outside": (["--box", "200,10,220,40"], "lies outside the image"),
    "box of three": (["--box", "1,2,3"], "--box takes numbers as x1,y1,x2,y2, not '1,2,3'"),
    "point of one": (["--point", "5"], "--point takes numbers as x,y, not '5'"),
    "point of text": (["--point", "a,b"], "--point takes numbers as x,y, not 'a,b'"),
    "none at all": ([], "no prompt was given"),
}


@pytest.mark.parametrize("fault", PROMPTS)
def test_prompt(fault: str, refused: Refused, photo: Path) -> None:
    arguments, expected = PROMPTS[fault]
    assert expected in refused("predict", photo, *arguments)


def test_mask_input(refused: Refused, photo: Path, tmp_path: Path) -> None:
    path = tmp_path / "logits.npy"
    assert "there is no file of logits" in refused("predict", photo, "--mask-input", path)
    path.write_text("not numpy")
    assert "is not an .npy file" in refused("predict", photo, "--mask-input", path)
    np.save(path, np.zeros((5, 5), np.float32))
    assert "mask_input must be low-res logits" in refused("predict", photo, "--mask-input", path)
    np.save(path, np.zeros((1, 256, 256), np.complex64))
    assert "must be real numbers" in refused("predict", photo, "--mask-input", path)
    header = path.read_bytes().replace(b"(1, 256, 256), }", b"(999999999999,)}")
    path.write_bytes(header)
    assert "is not an .npy file" in refused("predict", photo, "--mask-input", path)
    assert "holds no array of numbers" in refused("predict", photo, "--mask-input", photo)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_are_not_waited_for(refused: Refused, tmp_path: Path, photo: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    assert "is a device or a pipe" in refused("predict", pipe, "--point", "1,1")
    assert "it is no file" in refused("predict", photo, "--mask-input", pipe)
    assert "is a device or a pipe" in refused("predict", photo, "--point", "1,1", "--out", pipe)


def test_path_that_the_system_refuses(refused: Refused, tmp_path: Path) -> None:
    loop, gone, name = tmp_path / "loop", tmp_path / "gone", "x" * 300
    loop.symlink_to(loop)
    gone.symlink_to(tmp_path / "nowhere")
    ask = ("predict", "--point", "1,1")
    assert "Symlink loop" in refused(*ask, loop) or "no image file" in refused(*ask, loop)
    assert "file name too long" in refused(*ask, name, "--out", "mask.png")
    assert "home directory" in refused("annotate", "~nobody-of-this-name/photos")
    for folder in (loop, gone, gone / "new"):
        assert "is a link that leads nowhere" in refused("examples", "--out", folder)
    assert "file name too long" in refused("examples", "--out", name)


def test_too_little_memory(refused: Refused, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_much(*_: object) -> None:
        raise MemoryError("Unable to allocate 7 TiB")

    monkeypatch.setattr("mobilesam.inference.images.load_image", too_much)
    sentence = refused("predict", photo, "--point", "1,1")
    assert sentence == (
        "this needs more memory than there is (Unable to allocate 7 TiB): ask for less at a time"
    )


NAMES = {
    "target": (["--target", "coremll"], "unknown target 'coremll'", "did you mean 'coreml'?"),
    "scheme": (["--scheme", "fp61"], "unknown scheme 'fp61'", "did you mean 'fp16'?"),
    "combination": (
        ["--target", "torchscript", "--scheme", "fp16"],
        "torchscript has no scheme 'fp16'",
        "coreml: fp32, fp16",
    ),
    "no target": (["--target", ""], "no target or scheme was named", "'all'"),
}


@pytest.mark.parametrize("fault", NAMES)
def test_name(fault: str, refused: Refused) -> None:
    arguments, *expected = NAMES[fault]
    sentence = refused("export", *arguments)
    assert all(part in sentence for part in expected), sentence


SIZES = [
    (["--image-size", "100"], "multiple of 16"),
    (["--ios", "15"], "16, 17"),
    (["--scheme", "w8a8", "--ios", "17", "--calibration", "no"], "no is not a folder of images"),
    (["--scheme", "fp32", "--distilled", "no"], "there is no file of distilled weights at 'no'"),
    (["--scheme", "s50"], "coreml has no scheme 's50' (with half of the weights pruned"),
]


@pytest.mark.parametrize(("arguments", "expected"), SIZES)
def test_export_option(arguments: list[str], expected: str, refused: Refused) -> None:
    assert expected in refused("export", "--target", "coreml", *arguments)


def test_output_folder_is_a_file(refused: Refused, photo: Path, bundle: Path) -> None:
    expected = f"'{photo}' is a file"
    assert expected in refused("export", "--target", "torchscript", "--out", photo / "exports")
    assert expected in refused("parity", bundle, "--report", photo / "report")
    assert expected in refused("demo", "--out", photo)


def test_output_folder_cannot_be_written(refused: Refused) -> None:
    if not os.path.isdir("/proc/self"):
        pytest.skip("needs a folder that even an administrator cannot write, such as /proc")
    sentence = refused("export", "--target", "torchscript", "--out", "/proc/exports")
    assert "'/proc/exports' cannot be written" in sentence


OUTPUTS = [
    (["--out", "mask.jpg"], "--out must end in .png"),
    (["--overlay", "overlay.txt"], "--overlay must end in .png or .jpg"),
    (["--logits", "logits.bin"], "--logits must end in .npy"),
    (["--out", "nowhere/mask.png"], "lies in a folder that does not exist"),
    (["--out", "a.png", "--overlay", "a.png"], "--overlay would overwrite 'a.png'"),
]


@pytest.mark.parametrize(("arguments", "expected"), OUTPUTS)
def test_output_name(arguments: list[str], expected: str, refused: Refused, photo: Path) -> None:
    assert expected in refused("predict", photo, "--point", "1,1", *arguments)


def test_output_over_the_photo(refused: Refused, photo: Path) -> None:
    before = photo.read_bytes()
    sentence = refused("predict", photo, "--point", "1,1", "--out", photo)
    assert "--out would overwrite" in sentence
    assert photo.read_bytes() == before


def test_output_over_what_is_read(
    refused: Refused, photo: Path, bundle: Path, tmp_path: Path
) -> None:
    (described := tmp_path / "manifest.json").write_text("{}")
    (names := tmp_path / "names.txt").write_text("photo.png")
    own = bundle / MANIFEST_NAME
    score = ("evaluate", bundle, "--images", tmp_path)
    for command, read in (
        (score, described),
        (score, own),
        ((*score, "--names", names), names),
        ((*score, "--coco", names), names),
        (("everything", photo, "--bundle", bundle), own),
    ):
        before = read.read_bytes()
        assert f"--out would overwrite '{read}'" in refused(*command, "--out", read)
        assert read.read_bytes() == before


def test_no_mask_where_the_overlay_cannot_be_written(
    refused: Refused, photo: Path, here: Path
) -> None:
    (folder := here / "overlay.png").mkdir()
    for command in (("predict", photo, "--point", "1,1"), ("everything", photo)):
        assert "is a folder: name a file" in refused(*command, "--overlay", folder)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB without a free byte."""
    folder = tmp_path / "full"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if not hasattr(os, "geteuid") or os.geteuid() or subprocess.run(mount).returncode:
        pytest.skip("needs permission to mount a small tmpfs")
    try:
        with pytest.raises(OSError, match="No space"), (folder / "filler").open("wb") as file:
            while True:
                file.write(bytes(1024))
                file.flush()
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_full_disk(refused: Refused, full_disk: Path, photo: Path) -> None:
    mask = full_disk / "mask.png"
    sentence = refused("predict", photo, "--point", "1,1", "--image-size", "64", "--out", mask)
    assert "no space left on device" in sentence
    assert [path.name for path in full_disk.iterdir()] == ["filler"]


@pytest.mark.slow
def test_disk_that_fills_up_during_export(refused: Refused, full_disk: Path) -> None:
    (full_disk / "filler").unlink()
    # --json shows no progress, which would share stderr with the sentence.
    small = ["--target", "torchscript", "--image-size", "64", "--json"]
    assert "the disk is full" in refused("export", *small, "--out", full_disk)
    assert list(full_disk.iterdir()) == []


def test_disk_that_fills_up_during_predict(
    refused: Refused, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.replace", full)
    sentence = refused("predict", photo, "--box", "1,1,50,50", "--image-size", "64", "--weights",
                       "demo", "--overlay", "overlay.png")  # fmt: skip
    assert "cannot be written (no space left on device)" in sentence


def _without_a_file(bundle: Path) -> None:
    (bundle / "decoder.pt").unlink()


def _with_another_file(bundle: Path) -> None:
    (bundle / "decoder.pt").write_bytes(b"something else")


def _of_a_newer_contract(bundle: Path) -> None:
    _edit(bundle, "contract_version", "2.0")


def _without_manifest(bundle: Path) -> None:
    (bundle / MANIFEST_NAME).unlink()


def _with_damaged_manifest(bundle: Path) -> None:
    path = bundle / MANIFEST_NAME
    path.write_text(path.read_text("utf-8")[:100], "utf-8")


def _with_malformed_manifest(bundle: Path) -> None:
    _edit(bundle, "image_size", "large")


def _with_a_stride_of_zero(bundle: Path) -> None:
    _edit(bundle, "stride", 0)


def _without_files(bundle: Path) -> None:
    _edit(bundle, "files", [])


def _with_a_list_as_manifest(bundle: Path) -> None:
    (bundle / MANIFEST_NAME).write_text("[]")


def _with_a_nested_manifest(bundle: Path) -> None:
    (bundle / MANIFEST_NAME).write_text("[" * 100_000)


def _edit(bundle: Path, key: str, value: object) -> None:
    path = bundle / MANIFEST_NAME
    manifest = json.loads(path.read_text("utf-8"))
    manifest[key] = value
    path.write_text(json.dumps(manifest), "utf-8")


BUNDLES = {
    "missing file": (_without_a_file, "decoder.pt' is missing"),
    "wrong digest": (_with_another_file, "'decoder.pt' is not the file that was exported"),
    "newer contract": (_of_a_newer_contract, "follows contract 2.0"),
    "no manifest": (_without_manifest, "is not a bundle"),
    "damaged manifest": (_with_damaged_manifest, "is not a manifest"),
    "malformed manifest": (_with_malformed_manifest, "is malformed at 'image_size'"),
    "stride of zero": (_with_a_stride_of_zero, "is malformed at 'stride'"),
    "no files": (_without_files, "there is no file of the encoder"),
    "a list": (_with_a_list_as_manifest, "is not a manifest (it holds no object)"),
    "nested": (_with_a_nested_manifest, "is not a manifest"),
}


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        (command, fault)
        for command in ("parity", "predict", "inspect")
        for fault in BUNDLES
        if (command, fault) != ("parity", "wrong digest")  # parity gives its verdict on it, below
    ],
)
def test_bundle(command: str, fault: str, refused: Refused, bundle: Path, photo: Path) -> None:
    spoil, expected = BUNDLES[fault]
    spoil(bundle)
    arguments: dict[str, list[str | Path]] = {
        "parity": [bundle, "--report", "report"],
        "predict": [photo, "--point", "1,1", "--bundle", bundle],
        "inspect": [bundle, "--json"],
    }
    assert expected in refused(command, *arguments[command])


@pytest.mark.slow
def test_parity_of_an_altered_bundle(run: Run, here: Path, bundle: Path) -> None:
    _with_another_file(bundle)
    result = run("parity", bundle, "--report", "report", "--json")
    assert result.exit_code == 2
    (own,) = json.loads(result.stdout)["bundles"]
    assert own["verdict"] == "FAIL"
    assert [c["metric"] for c in own["checks"] if not c["passed"]][0] == "digest"
    assert own["cases"] == []
    (sentence,) = (line for line in result.stderr.splitlines() if line.startswith("error: "))
    assert (
        "decoder.pt is not as exported, its SHA-256 differs from the manifest's: export" in sentence
    )
    assert (here / "report" / "report.html").is_file()


def test_bundle_that_does_not_exist(refused: Refused, here: Path) -> None:
    assert "is not a folder" in refused("parity", here / "exports")
    assert "holds none" in refused("parity", here)


def test_bundle_with_options_of_a_checkpoint(refused: Refused, photo: Path, bundle: Path) -> None:
    prompt = ["predict", photo, "--point", "1,1"]
    assert "of its own" in refused(*prompt, "--bundle", bundle, "--weights", "demo")
    assert "--bundle too" in refused(*prompt, "--runtime", "litert")
    assert "unknown runtime 'onx'" in refused(*prompt, "--bundle", bundle, "--runtime", "onx")
    too_many = [part for x in range(9) for part in ("--point", f"{x},1")]
    assert "has 8" in refused("predict", photo, *too_many, "--bundle", bundle)


def test_parity_option(refused: Refused, bundle: Path, here: Path) -> None:
    assert "not a folder" in refused("parity", bundle, "--images", here / "photos")
    assert "no thresholds file" in refused("parity", bundle, "--thresholds", here / "t.toml")
