"""One worker process: started, asked for turns, and ended."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from mobilesam.closing import Closing
from mobilesam.errors import BundleError

TIMEOUT_S = 600.0
"""After which a process that does not answer is given up."""

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds ``parity`` and the other packages."""


class Worker(Closing):
    """A process of ``parity.cost.worker`` with its component loaded; it waits between questions.

    Args:
        job: for :func:`parity.cost.worker.serve`.

    Raises:
        BundleError: the process failed, was killed, or did not answer within TIMEOUT_S.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self._what = f"the {job['component']} on {job.get('runtime', 'PyTorch')}"
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "parity.cost.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ | {"PYTHONPATH": _path()},
        )
        self._lines: SimpleQueue[str] = SimpleQueue()
        # A thread, since a pipe cannot be waited on for a limited time on every system.
        Thread(target=self._read, daemon=True).start()
        try:
            self.facts = self._ask(json.dumps(job))
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def turn(self) -> list[float]:
        """Seconds of each run of one turn.

        Raises:
            BundleError: as the constructor.
        """
        answer = self._ask("")
        self.facts["peak_memory_mb"] = answer["peak_memory_mb"]
        seconds: list[float] = answer["seconds"]
        return seconds

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._errors):
            assert stream is not None
            try:
                stream.close()
            except OSError:  # what was to be written to it finds nobody
                pass

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as answers:
            for line in answers:
                self._lines.put(line)
        self._lines.put("")

    def _ask(self, question: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(question + "\n")
            self._process.stdin.flush()
        except OSError:  # it ended; why is told below
            pass
        try:
            line = self._lines.get(timeout=TIMEOUT_S)
        except Empty:
            raise BundleError(f"{self._what} did not finish within {TIMEOUT_S:g} s") from None
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        status = self._process.wait()
        if status < 0:
            raise BundleError(f"{self._what} was killed by signal {-status}")
        self._errors.seek(0)
        reason = (self._errors.read().strip().splitlines() or ["no reason given"])[-1]
        raise BundleError(f"{self._what} stopped with status {status}: {reason}")


def _path() -> str:
    """For ``PYTHONPATH``: the worker finds these packages first, wherever it is started from."""
    inherited = os.environ.get("PYTHONPATH")
    return f"{ROOT}{os.pathsep}{inherited}" if inherited else str(ROOT)
