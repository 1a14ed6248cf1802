"""`mobilesam replay`: the way from one machine to another and back, and bad input on it."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mobilesam.emulators import arm64
from mobilesam.runtimes.bundle import Bundle
from parity.report import Report
from tests.masked_folders import write_masked
from tests.mobilesam_cli.conftest import Run
from tests.parity.replay_folders import loadable

Refused = Callable[..., str]


@pytest.fixture(scope="module")
def onnx(tiny_bundle: Callable[..., Bundle]) -> Iterator[Bundle]:
    """The tiny model's bundle, whose weights load."""
    bundle = tiny_bundle("onnx")
    with pytest.MonkeyPatch.context() as patch:
        loadable(patch, bundle)
        yield bundle


def test_there_and_back(
    run: Run, here: Path, onnx: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    photos = write_masked(tmp_path / "masked")
    packed = run("replay", "pack", onnx.path, "--out", "pack", "--images", photos, "--quiet")
    assert packed.exit_code == 0, packed.output
    assert "pack: onnx-fp32; 5 photos, 58 cases" in packed.stdout.splitlines()[-1]
    assert sorted(path.name for path in here.iterdir()) == ["pack"]

    ran = run("replay", "run", "pack", "--threads", "1", "--python", sys.executable)
    assert ran.exit_code == 0, capfd.readouterr().err
    merged = run("replay", "merge", "pack", "--report", "reports", "--json")
    assert merged.exit_code == 0, merged.output
    report = Report.model_validate(json.loads(merged.stdout))
    assert report.command == "mobilesam replay merge pack --report reports --json"
    assert sorted(path.name for path in (here / "reports").iterdir()) == [
        "junit.xml",
        "report.html",
        "report.json",
        "report.md",
    ]

    result = here / "pack" / "results" / "onnx-fp32.onnxruntime" / "result.json"
    result.write_text(json.dumps(json.loads(result.read_text()) | {"error": "no memory"}))
    failed = run("replay", "merge", "pack")
    assert failed.exit_code == 1
    assert "could not be run: no memory" in failed.stdout


def test_what_run_hands_on(run: Run, here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "pack").mkdir()
    (here / "pack" / "run.py").write_text("import sys; print(sys.argv[1:]); sys.exit(7)")
    units = ("--compute-units", "cpu_only,CPU_AND_NE", "--compute-units", "all")
    ran = run("replay", "run", "pack", *units, "--bundle", "a,b", "--threads", "3")
    assert ran.exit_code == 7
    expected = ["--compute-units", "CPU_ONLY", "CPU_AND_NE", "ALL", "--bundle", "a", "b"]
    assert capfd.readouterr().out.strip() == str([*expected, "--threads", "3"])


def test_what_an_emulated_core_is_handed(
    run: Run, here: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    python = here / "python"
    python.write_text('#!/bin/sh\necho "$QEMU_CPU $OPENBLAS_NUM_THREADS: $@"; exit 3')
    python.chmod(0o755)
    set_up: list[str] = []

    def pretend(say: Callable[[str], None]) -> None:
        say("40 packages")
        set_up.append("once")

    monkeypatch.setattr(arm64, "missing", lambda: "" if set_up else "there is no qemu")
    monkeypatch.setattr(arm64, "set_up", pretend)
    monkeypatch.setattr(arm64, "python", lambda: python)
    (here / "pack").mkdir()
    (here / "pack" / "run.py").touch()
    asked = ("replay", "run", "pack", "--arm64")
    first = run(*asked, "--bundle", "a,b", "--threads", "3")
    assert first.exit_code == 3 and first.stderr == "note: 40 packages\n"
    assert capfd.readouterr().out.strip() == (
        "cortex-a76 1: pack/run.py --bundle a b --threads 3 --emulated-cpu cortex-a76"
    )
    second = run(*asked, "--cpu", "cortex-a53")
    assert second.exit_code == 3 and second.stderr == "" and set_up == ["once"]
    assert capfd.readouterr().out.strip() == "cortex-a53 1: pack/run.py --emulated-cpu cortex-a53"


def test_bad_input(refused: Refused, here: Path, bundle: Path, tmp_path: Path) -> None:
    assert "is not a bundle" in refused("replay", "pack", here, "--out", "pack")
    asked = ("replay", "pack", bundle, "--out", "pack")
    assert "runs on torchscript, and a replay folder knows only coreml" in refused(*asked)
    assert "'nowhere' is not a folder" in refused(*asked, "--images", "nowhere")
    assert "'nowhere' is not a replay folder: it has no run.py" in refused(
        "replay", "run", "nowhere"
    )
    (here / "pack").mkdir()
    shutil.copy(__file__, here / "pack" / "run.py")
    ran = ("replay", "run", "pack")
    assert "unknown compute units 'npu'" in refused(*ran, "--compute-units", "npu")
    assert "cannot be started (no such file" in refused(*ran, "--python", tmp_path / "python")
    assert "unknown CPU 'm1', known: cortex-a53, " in refused(*ran, "--arm64", "--cpu", "m1")
    assert "--cpu names the core that --arm64 emulates" in refused(*ran, "--cpu", "cortex-a53")
    assert "leave out --python" in refused(*ran, "--arm64", "--python", sys.executable)
    assert "leave out --python" in refused(*ran, "--arm64", "--compute-units", "all")
    assert "is not a replay folder" in refused("replay", "run", "nowhere", "--arm64")
    assert "is not a replay folder: it has no replay.json" in refused("replay", "merge", "pack")
    assert "'nowhere' is not a folder" in refused("replay", "merge", "nowhere")
    merged = ("replay", "merge", "pack", "--thresholds", "nowhere.toml")
    assert "no thresholds file at 'nowhere.toml'" in refused(*merged)


@pytest.mark.parametrize("command", ["pack", "run", "merge"])
def test_help(run: Run, command: str) -> None:
    shown = run("replay", command, "-h")
    assert shown.exit_code == 0 and "Usage" in shown.stdout
