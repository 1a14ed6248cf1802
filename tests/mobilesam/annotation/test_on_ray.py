"""Annotating on a Ray cluster: the files of a run on this machine, also with a worker killed."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from mobilesam.annotation.auto import Summary
from tests.mobilesam.annotation.conftest import content
from tests.ray_clusters import two_machines

pytestmark = pytest.mark.slow

MARK = "MOBILESAM_TEST_MARK"
"""Variable in the environment of workers of this test, by which they are told from others."""


def test_labels_are_the_same_though_a_worker_is_killed(
    annotate_by_workers: Callable[..., Summary],
    many: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = annotate_by_workers(output_dir=tmp_path / "whole", workers=1)
    monkeypatch.setenv(MARK, uuid4().hex)
    out, killed = tmp_path / "out", threading.Event()
    watcher = threading.Thread(target=_kill_one, args=(out, os.environ[MARK], killed))
    with two_machines() as address:
        watcher.start()
        some = annotate_by_workers(output_dir=out, engine="ray", workers=2, ray_address=address)
    watcher.join()
    assert killed.is_set()
    assert some.annotated == whole.annotated == 60
    assert content(out) == content(whole.output_dir)


def _kill_one(out: Path, mark: str, killed: threading.Event) -> None:
    """Kill a worker of this test once some labels are there."""
    import psutil

    until = time.monotonic() + 200
    while time.monotonic() < until and len(list(out.glob("photo*"))) < 5:
        time.sleep(0.005)
    for process in psutil.process_iter():
        try:
            if "MapWorker" in " ".join(process.cmdline()) and process.environ().get(MARK) == mark:
                process.kill()
                killed.set()
                return
        except psutil.Error:
            continue
