"""Bundles are written whole, once, and by one process at a time."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from converters import ExportResult, export, workspace
from converters import session as session_module
from converters.coreml.options import CoreMLOptions
from converters.process import ConversionError
from converters.schemes import TARGETS
from mobilesam.bundle.contract import COMPONENTS, CONTRACT_VERSION, Contract
from mobilesam.bundle.manifest import LOG_NAME, MANIFEST_NAME, Manifest
from mobilesam.errors import ExportError, InputError
from mobilesam.model.mask_decoder import MaskDecoder
from mobilesam.model.sam import MobileSAM
from mobilesam.runtimes.bundle import Bundle
from mobilesam.weights.checkpoints import tensors_sha256
from tests.specs import make_spec
from tests.upstream.oracle import randomize

DYING = """
import os, signal, sys, tempfile
tempfile.tempdir = sys.argv[1]
from converters.workspace import scratch_folder
with scratch_folder() as folder:
    (folder / "inside").mkdir()
    (folder / "inside" / "model.pt").touch()
    print(folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""

MakeModel = Callable[[], MobileSAM]

SCRIPT = """
import sys, time
sys.path.insert(0, {root!r})
from converters import export
from tests.tiny_bundles import make_tiny_model
model = make_tiny_model()

class Nap:
    def __reduce__(self):
        return time.sleep, ({nap},)

model.nap = Nap()
(made,) = export(
    model, targets="torchscript", schemes="fp32", out=sys.argv[1], progress=False
)
print(made.skipped)
"""


NAME = "torchscript-fp32"


def export_tiny(
    model: MobileSAM, folder: Path, progress: bool = False, **options: Any
) -> ExportResult:
    """Export to a folder, which must be called :data:`NAME`."""
    asked: dict[str, Any] = {"targets": "torchscript", "schemes": "fp32", "out": folder.parent}
    (made,) = export(model, progress=progress, **asked, **options)
    assert made.path == folder
    return made


def start_export(
    repository: Path, folder: Path, temporary: Path | None = None, nap: float = 0.0
) -> subprocess.Popen[str]:
    """The same in another process, with a temporary directory of its own.

    Its worker first sleeps for ``nap`` seconds, so that it can be met while it works.
    """
    own = {} if temporary is None else {"TMPDIR": str(temporary)}
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            SCRIPT.format(root=str(repository), nap=nap),
            str(folder.parent),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **own},
        # What is started in a shell's background ignores Ctrl-C, and so would this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for_partial(folder: Path, process: subprocess.Popen[str]) -> Path:
    """The temporary folder of an export that has begun to write."""
    for _ in range(30_000):
        for partial in folder.parent.glob(f".{folder.name}.partial-*"):
            if any(partial.iterdir()):
                return partial
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError("the export did not begin within five minutes")


def workers() -> set[str]:
    """Process ids of all converter workers on this machine."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"converters.worker" in entry.read_bytes():
                found.add(entry.parent.name)
        except OSError:
            continue
    return found


def is_alive_in(folder: Path) -> bool:
    """Whether any worker still has the bundle's log open."""
    for worker in workers():
        try:
            if str(folder.parent) in os.readlink(f"/proc/{worker}/fd/1"):
                return True
        except OSError:
            continue
    return False


@pytest.mark.slow
def test_a_bundle_is_complete_and_describes_itself(tiny_model: MobileSAM, tmp_path: Path) -> None:
    folder = tmp_path / "some" / NAME
    result = export_tiny(tiny_model, folder)
    assert (result.path, result.target, result.scheme) == (folder, "torchscript", "fp32")
    assert not result.skipped and result.seconds > 0
    assert sorted(p.name for p in folder.parent.iterdir()) == [NAME]
    files = {"encoder.pt", "encoder.ptl", "decoder.pt", "decoder.ptl"}
    assert {p.name for p in folder.iterdir()} == files | {MANIFEST_NAME, LOG_NAME}

    bundle = Bundle(folder)
    bundle.verify()
    manifest = bundle.manifest
    assert manifest.contract == Contract.of(tiny_model)
    assert manifest.contract_version == CONTRACT_VERSION
    assert manifest.weights.sha256 == tensors_sha256(tiny_model.state_dict())
    assert set(manifest.signatures) == set(COMPONENTS)
    assert {record.path for record in manifest.files} == files
    assert {r.runtime for r in manifest.files if r.path.endswith(".ptl")} == {"lite_interpreter"}
    assert all("legacy" in r.note for r in manifest.files if r.path.endswith(".ptl"))
    assert manifest.preprocessing["mean"] == [123.675, 116.28, 103.53]
    assert manifest.preprocessing["std"] == [58.395, 57.12, 57.375]
    assert manifest.postprocessing["threshold"] == 0.0
    assert set(manifest.labels) == {1, 0, 2, 3, -1, -2}
    assert manifest.licence == "Apache-2.0"
    assert manifest.tools["torch"] == torch.__version__
    assert "mobilesam-export" in manifest.tools
    written = (folder / MANIFEST_NAME).read_text("utf-8")
    assert Manifest.model_validate(json.loads(written)) == manifest


def test_an_unchanged_bundle_is_skipped_and_a_changed_one_is_not(
    changed_model: MakeModel, tiny_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    model = changed_model()
    folder = shutil.copytree(tiny_bundle("torchscript").path, tmp_path / NAME)
    before = (folder / MANIFEST_NAME).stat().st_mtime_ns
    again = export_tiny(model, folder)
    assert again.skipped
    assert (folder / MANIFEST_NAME).stat().st_mtime_ns == before

    assert not export_tiny(model, folder, force=True).skipped
    assert (folder / MANIFEST_NAME).stat().st_mtime_ns > before

    with (folder / "decoder.pt").open("ab") as file:
        file.write(b"x")
    assert not export_tiny(model, folder).skipped
    Bundle(folder).verify()

    randomize(model, seed=1)
    model.requires_grad_(False)
    assert not export_tiny(model, folder).skipped
    assert Bundle(folder).manifest.weights.sha256 == tensors_sha256(model.state_dict())


@pytest.mark.slow
def test_everything_a_converter_prints_is_in_the_log(
    changed_model: MakeModel, tmp_path: Path
) -> None:
    class Chatter:
        """Unpickled in the worker, it prints from outside Python."""

        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, ("echo to standard output; echo to standard error >&2",)

    model = changed_model()
    model.chatter = Chatter()  # type: ignore[assignment]
    export_tiny(model, tmp_path / NAME)
    log = (tmp_path / NAME / LOG_NAME).read_text("utf-8")
    assert "to standard output" in log
    assert "to standard error" in log


@pytest.mark.slow
def test_a_converter_that_crashes_gives_one_sentence_and_leaves_nothing(
    changed_model: MakeModel, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    class Bomb:
        """Unpickled in the worker, it kills it."""

        def __reduce__(self) -> tuple[object, tuple[()]]:
            return os.abort, ()

    model = changed_model()
    model.bomb = Bomb()  # type: ignore[assignment]
    with pytest.raises(ExportError, match="process was ended by SIGABRT") as caught:
        export_tiny(model, tmp_path / "out" / NAME, progress=True)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert "last lines of the log" in capfd.readouterr().err


def test_a_wrong_output_stops_the_export_and_keeps_the_earlier_bundle(
    changed_model: MakeModel, tiny_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    model = changed_model()
    folder = shutil.copytree(tiny_bundle("torchscript").path, tmp_path / NAME)
    model.mask_decoder = MaskDecoder(channels=model.channels, num_masks=3)
    randomize(model, seed=0)
    with pytest.raises(ConversionError, match=r"low_res_masks.*\[1, 3, .*contract says \[1, 4,"):
        export_tiny(model, folder)
    Bundle(folder).verify()
    assert [p.name for p in tmp_path.iterdir()] == [NAME]


def test_train_mode_is_refused_before_anything_is_written(
    changed_model: MakeModel, tmp_path: Path
) -> None:
    model = changed_model()
    model.image_encoder.train()
    with pytest.raises(ExportError, match=r"train mode.*eval\(\)"):
        export_tiny(model, tmp_path / "out" / NAME)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_killed_in_the_middle_it_leaves_no_bundle_and_the_next_run_is_fine(
    tiny_model: MobileSAM, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, temporary = tmp_path / "out" / NAME, tmp_path / "tmp"
    temporary.mkdir()
    process = start_export(repository, folder, temporary, nap=600)
    wait_for_partial(folder, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not folder.exists()
    (left,) = temporary.glob(f"{workspace.SCRATCH}*")
    assert (left / "model.pt").is_file()
    for _ in range(6000):  # the worker ends itself when its parent is gone
        if not is_alive_in(folder):
            break
        time.sleep(0.05)
    assert not is_alive_in(folder)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    assert not export_tiny(tiny_model, folder).skipped
    Bundle(folder).verify()
    assert [p.name for p in folder.parent.iterdir()] == [NAME]
    assert not list(temporary.glob(f"{workspace.SCRATCH}*"))


def test_only_what_a_dead_export_left_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    clone = tmp_path / f"{workspace.SCRATCH}clone"  # not ours, though its name is like ours
    clone.mkdir()
    (clone / "precious.txt").touch()
    dead = subprocess.run(
        [sys.executable, "-c", DYING, str(tmp_path)], capture_output=True, text=True
    )
    left = Path(dead.stdout.strip())
    assert dead.returncode == -signal.SIGKILL and (left / "inside" / "model.pt").is_file()
    (tmp_path / f"{workspace.SCRATCH}link").symlink_to(left)
    with workspace.scratch_folder() as living:
        assert not left.exists()
        with workspace.scratch_folder() as another:
            assert living.is_dir() and another.is_dir()
        assert living.is_dir() and not another.exists()
        monkeypatch.setattr(os, "getuid", lambda: -1)  # another user
        dead = subprocess.run(
            [sys.executable, "-c", DYING, str(tmp_path)], capture_output=True, text=True
        )
        with workspace.scratch_folder():
            assert Path(dead.stdout.strip()).is_dir()
    assert (clone / "precious.txt").is_file()


@pytest.mark.slow
def test_interrupted_it_ends_its_worker_and_leaves_nothing(
    repository: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out" / NAME
    process = start_export(repository, folder, nap=600)
    wait_for_partial(folder, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in errors
    assert not is_alive_in(folder)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_two_processes_share_a_folder(repository: Path, tmp_path: Path) -> None:
    folder = tmp_path / NAME
    both = [start_export(repository, folder) for _ in range(2)]
    answers = [process.communicate(timeout=300) for process in both]
    assert sorted(out.strip() for out, _ in answers) == ["False", "True"], answers
    Bundle(folder).verify()
    assert [p.name for p in tmp_path.iterdir()] == [NAME]


def test_an_export_killed_between_two_renames_gives_the_old_bundle_back(tmp_path: Path) -> None:
    old = tmp_path / f".{NAME}.old-1"
    old.mkdir()
    (old / MANIFEST_NAME).write_text("{}")
    with workspace.locked(tmp_path / NAME):
        assert (tmp_path / NAME / MANIFEST_NAME).is_file()
    assert [p.name for p in tmp_path.iterdir()] == [NAME]


def test_a_folder_that_is_no_bundle_is_not_replaced(tiny_model: MobileSAM, tmp_path: Path) -> None:
    folder = tmp_path / NAME
    folder.mkdir()
    (folder / "holiday.jpg").write_bytes(b"precious")
    with pytest.raises(ExportError, match=f"{NAME} exists and is not a bundle"):
        export_tiny(tiny_model, folder)
    assert (folder / "holiday.jpg").read_bytes() == b"precious"
    assert [p.name for p in tmp_path.iterdir()] == [NAME]


def test_out_that_is_a_file_is_refused(tiny_model: MobileSAM, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ExportError, match="it is a file"):
        export_tiny(tiny_model, tmp_path / "out" / NAME)
    assert (tmp_path / "out").read_text() == "a file"


def test_out_that_cannot_be_created_is_refused(tiny_model: MobileSAM) -> None:
    with pytest.raises(ExportError, match="cannot export to /proc/nowhere: .*can be written"):
        export_tiny(tiny_model, Path("/proc/nowhere") / NAME)


def test_a_full_disk_gives_one_sentence_and_leaves_nothing(
    tiny_model: MobileSAM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(session_module, "convert_in_process", no_space)
    with pytest.raises(ExportError, match="the disk is full"):
        export_tiny(tiny_model, tmp_path / "out" / NAME)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_worker_that_ran_out_of_space_says_so(
    changed_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from converters import process

    monkeypatch.setattr(process, "LOW_DISK", 2**80)
    broken = changed_model()
    broken.channels += 1
    with pytest.raises(ExportError, match=r"the disk is full \(\d+ MB free\)"):
        export_tiny(broken, tmp_path / NAME)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"targets": ["tflight"]}, "did you mean 'tflite'"),
        ({"targets": ["torchscript"], "schemes": ["fp16"]}, "no scheme 'fp16'"),
        ({"options": {"coreml": CoreMLOptions(ios=15)}}, "ios must be one of 16, 17, 18, not 15"),
        ({"options": {"corml": CoreMLOptions()}}, "unknown target 'corml'.*did you mean 'coreml'"),
        (
            {"options": {"onnx": CoreMLOptions()}},
            "options of target 'onnx' are a ONNXOptions, not a CoreMLOptions",
        ),
        ({"slots": 1}, "slots must be 2 to 64, not 1"),
        ({"slots": 65}, "slots must be 2 to 64, not 65"),
        ({"input_variant": "raw"}, "input_variant must be one of pixels, normalized"),
        ({"image_size": 100}, "multiple of 16"),
        ({"jobs": 0, "targets": ["torchscript"], "image_size": 64}, "jobs must be at least 1"),
        ({"weights": "nowhere.pt"}, "nowhere.pt"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(
    options: dict[str, object], words: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        export(out=tmp_path / "out", progress=False, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_longest_goes_first_and_further_schemes_last(tiny_model: MobileSAM) -> None:
    from converters.lookup import combinations
    from converters.session import turn

    specs = [make_spec(tiny_model, *pair) for pair in combinations()]
    order = [(spec.target, spec.scheme) for spec in sorted(specs, key=turn)]
    assert order[0][0] == max(TARGETS, key=lambda name: TARGETS[name].seconds)
    assert order.index(("tflite", "fp32")) < order.index(("onnx", "fp16"))
