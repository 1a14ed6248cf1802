"""Worker processes: the same files whatever their number, and after a run was killed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mobilesam.annotation.auto import Summary
from tests.mobilesam.annotation.conftest import content

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("format", ["yolo", "coco"])
def test_killed_and_resumed(
    many: Path,
    boxes: Path,
    bundle: str,
    tmp_path: Path,
    repository: Path,
    annotate: Callable[..., Summary],
    format: str,
) -> None:
    """As a user does it: the same command again, by two worker processes."""
    whole = annotate(output_dir=tmp_path / "whole", format=format)
    out = tmp_path / "out"
    command = ["annotate", str(many), "--det-model", str(boxes), "--sam-model", bundle]
    command += ["--output-dir", str(out), "--format", format, "--workers", "2", "--quiet"]
    start = [sys.executable, "-c", "from mobilesam_cli import main; main()", *command]
    environment = os.environ | {"PYTHONPATH": str(repository)}
    labels = out / ("parts" if format == "coco" else "")
    process = subprocess.Popen(start, env=environment)
    while process.poll() is None and len(list(labels.glob("photo*"))) < 10:
        time.sleep(0.002)
    process.kill()
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in labels.glob("photo*")}
    assert 10 <= len(done) < 60
    (out / ".photo0.1.part.txt").touch()  # as a process leaves it that is killed while it writes
    again = subprocess.run(start, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert f"{60 - len(done)} of 60 photos annotated" in again.stdout
    assert f"{len(done)} were before" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert content(out) == content(whole.output_dir)


def test_workers_change_nothing(
    annotate: Callable[..., Summary],
    annotate_by_workers: Callable[..., Summary],
    tmp_path: Path,
    photos: Path,
) -> None:
    (photos / "broken.png").write_bytes(b"\x89PNG")
    none = annotate(output_dir=tmp_path / "none")
    for workers in (1, 3):
        some = annotate_by_workers(output_dir=tmp_path / f"by{workers}", workers=workers)
        assert content(some.output_dir) == content(none.output_dir)
        assert some == none.__class__(**(vars(none) | {"output_dir": some.output_dir}))
