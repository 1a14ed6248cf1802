"""One worker process, as the parent sees it.

It is a fresh interpreter, not a fork and not a child of :mod:`multiprocessing`: threads and
runtimes do not survive a fork, and a child of multiprocessing runs the caller's script once more.
"""

import os
import signal
import subprocess
import sys
import tempfile
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from mobilesam.engines.base import Message

_ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds this package."""

_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait for work take no core from other workers
}


class WorkerProcess:
    """A process of :mod:`mobilesam.engines.worker`, or of another module that speaks as it does.

    Args:
        job: the first thing that it is told.
        module: that is run.

    Attributes:
        connection: to it; it can be waited for.
        ready: whether it has loaded its job.
        at: number of the item that it works on, if any.
    """

    def __init__(self, job: Any, module: str = "mobilesam.engines.worker") -> None:
        self.connection, theirs = Pipe()
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=[theirs.fileno()],
                env=os.environ | _ONE_THREAD | {"PYTHONPATH": path},
            )
        self.ready = False
        self.at: int | None = None
        self._send(job)

    @property
    def idle(self) -> bool:
        """Whether it waits for an item."""
        return self.ready and self.at is None

    def begin(self, at: int, item: Any) -> None:
        """Let it work on an item."""
        self.at = at
        self._send(item)

    def hear(self) -> Message | None:
        """What it says, which is no error; None if it has died.

        Raises:
            MobileSAMError: the worker raised it.
            RuntimeError: it failed by a fault of ours; its traceback is the message.
        """
        try:
            message: Message = self.connection.recv()
        except (EOFError, ConnectionResetError):
            return None
        message.result()
        self.ready, self.at = True, None
        return message

    def close(self) -> str:
        """End it, if it has not ended by itself.

        Returns:
            How it ended, in words.
        """
        self.connection.close()
        try:
            self._process.wait(0.5 if self.at is None else 0)
        except subprocess.TimeoutExpired:
            self._process.kill()
        status = self._process.wait()
        with self._errors:
            self._errors.seek(0)
            said = self._errors.read().strip().splitlines()
        if status >= 0:
            return f"ended with status {status}" + (f" ({said[-1]})" if said else "")
        name = signal.Signals(-status).name
        memory = ", most likely for want of memory," if name == "SIGKILL" else ""
        return f"was ended by {name}{memory}"

    def _send(self, value: Any) -> None:
        try:
            self.connection.send(value)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has died, which hear() finds
