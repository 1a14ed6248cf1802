"""Running a worker: its process, its log, and one sentence when it fails."""

import os
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from converters.task import Outcome, Task, write_task
from mobilesam.bundle.manifest import LOG_NAME
from mobilesam.errors import ExportError

TAIL_LINES = 40
LOW_DISK = 64 * 2**20
"""Bytes; an export that fails with less free than this failed for want of space."""

_POLL_S = 0.1


class ConversionError(ExportError):
    """A worker failed.

    Attributes:
        log_tail: the last lines of what the converter printed.
    """

    def __init__(self, reason: str, log_tail: str) -> None:
        super().__init__(reason)
        self.log_tail = log_tail


class Cancelled(Exception):
    """The caller gave up before the worker was done."""


def convert_in_process(task: Task, scratch: Path, cancelled: Callable[[], bool]) -> None:
    """Run a worker to its end. Everything it prints goes to the bundle's log.

    Args:
        task: what to convert.
        scratch: folder for the task file.
        cancelled: asked ten times a second; when true the worker is killed.

    Raises:
        ConversionError: it failed, with one sentence and the end of the log.
        Cancelled: as told by ``cancelled``.
    """
    order = scratch / f"{task.spec.name}.task"
    write_task(task, order)
    log = task.folder / LOG_NAME
    root = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    threads = str(task.threads)
    environment = {
        **os.environ,
        "PYTHONPATH": path,
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(scratch),  # what libraries leave behind goes with the scratch folder
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "converters.worker", str(order)],
            stdin=subprocess.PIPE,  # its end of file tells the worker that its parent is gone
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    try:
        while True:
            try:
                process.wait(_POLL_S)
                break
            except subprocess.TimeoutExpired:
                if cancelled():
                    raise Cancelled from None
    finally:
        process.kill()
        process.wait()
        if process.stdin is not None:
            process.stdin.close()
    reason = _failure(task, process.returncode)
    if reason:
        raise ConversionError(reason, _tail(log))


def _failure(task: Task, returncode: int) -> str | None:
    try:
        outcome = Outcome.model_validate_json(task.outcome.read_text("utf-8"))
    except (OSError, ValidationError):
        outcome = Outcome(error=_death(returncode))
    if outcome.error is None:
        return None
    free = shutil.disk_usage(task.folder).free
    if outcome.disk_full or free < LOW_DISK:
        return f"the disk is full ({free // 2**20} MB free), free some space and export again"
    return outcome.error


def _death(returncode: int) -> str:
    if returncode >= 0:
        return f"the converter's process ended with status {returncode} and no result"
    name = signal.Signals(-returncode).name
    memory = ", most likely for want of memory" if name == "SIGKILL" else ""
    return f"the converter's process was ended by {name}{memory}"


def _tail(log: Path) -> str:
    with log.open(encoding="utf-8", errors="replace") as lines:
        return "".join(deque(lines, TAIL_LINES)).strip()
