"""TFLite files on LiteRT's GPU accelerator (ML Drift on WebGPU), as phones with a GPU run them."""

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam.bundle.contract import Component
from mobilesam.emulators import lavapipe
from mobilesam.errors import BundleError, MissingDependencyError, RefusedError
from mobilesam.runtimes.base import Arrays
from mobilesam.runtimes.checked import CheckedRunner, TensorType, version_of
from mobilesam.runtimes.gpu_worker import READ, Job, Opened

ACCELERATOR = "libLiteRtWebGpuAccelerator.so"
"""Of the wheel of ai-edge-litert."""

_ROOT = Path(__file__).resolve().parents[2]
_ADAPTER = re.compile(r"Selected adapter: (.*?), arch=.*adapterType=(.*)")
_REFUSED = re.compile(
    r"operations are not supported by GPU delegate:\n(.*?)\n\d+ operations will run", re.DOTALL
)
_FAULT = re.compile(r"Failed to create [^\n]*?: [A-Z_]+: ([^\n]*)")


class LiteRTGPURunner(CheckedRunner):
    """The accelerator in float16, which it computes in by default, in a process for each file.

    A file is refused unless all of its ops run on the GPU.
    """

    name = "litert_gpu"
    float32 = False
    _adapter = ""
    _adapter_kind = ""

    @classmethod
    def require(cls) -> None:
        lacking = lavapipe.missing()
        if lacking:
            raise MissingDependencyError(f"the runtime '{cls.name}' needs a GPU: {lacking}")
        found = importlib.util.find_spec("ai_edge_litert")
        folders = found.submodule_search_locations if found is not None else None
        if not any((Path(folder) / ACCELERATOR).is_file() for folder in folders or ()):
            raise MissingDependencyError(
                f"the runtime '{cls.name}' needs {ACCELERATOR}, which the package ai-edge-litert "
                "has on Linux on x86-64: judge the bundle on such a machine"
            )

    @property
    def engine(self) -> str:
        precision = "float32" if self.float32 else "float16"
        where = f" on {self._adapter}" if self._adapter else ""
        return f"LiteRT {version_of('ai-edge-litert')} (GPU, {precision}){where}"

    @property
    def representative(self) -> bool:
        """False where a CPU plays the GPU, or where LiteRT does not say what computes."""
        return bool(self._adapter_kind) and "CPU" not in self._adapter_kind

    def unload(self) -> None:
        for worker in self._opened.values():
            worker.close()
        super().unload()

    def open_file(self, component: Component, path: Path) -> "_Worker":
        worker = _Worker(self.threads)
        try:
            found = self._compiled(component, path, worker)
            types = [
                {name: TensorType(*each) for name, each in tensors.items()}
                for tensors in (found.inputs, found.outputs)
            ]
            self.check_declared(component, path, *types)
        except BaseException:
            worker.close()
            raise
        return worker

    def _compiled(self, component: Component, path: Path, worker: "_Worker") -> Opened:
        """What the file declares, once it is compiled.

        Raises:
            RefusedError: part of it does not run on the GPU.
            BundleError: it has no such signature.
            WorkerError: it could not be read at all.
        """
        wanted = self.bundle.manifest.signatures[component].name
        # What the CPU's interpreter cannot read is a damaged file, no refusal.
        worker.ask(Job(str(path), wanted, self.float32))
        try:
            found: Opened = worker.answer()
        except WorkerError as error:
            said = worker.said()
            self._note_adapter(said)
            if not self._adapter:
                raise WorkerError(f"no GPU was found: {error}") from error
            raise self._refusal(path, said, str(error)) from error
        said = worker.said()
        self._note_adapter(said)
        if wanted not in found.signatures:
            raise BundleError(
                f"{path} has no signature '{wanted}', only {', '.join(found.signatures) or 'none'}"
            )
        if not found.accelerated:
            raise self._refusal(path, said, "a part of it would run on the CPU")
        return found

    def _note_adapter(self, said: str) -> None:
        found = _ADAPTER.search(said)
        if found:
            self._adapter, self._adapter_kind = found[1], found[2]

    def _refusal(self, path: Path, said: str, reason: str) -> RefusedError:
        ops = refused_ops(said)
        fault = _FAULT.search(said)
        if ops:
            what = ", ".join(ops)
            reason = "; ".join(f"{op}: {why}" for op, why in ops.items())
        elif fault:
            reason = fault[1]
            what = reason.partition(":")[0]
        else:
            what = reason
        return RefusedError(f"{path} does not run on the GPU as a whole ({reason})", what)

    def execute(self, component: Component, arrays: dict[str, np.ndarray]) -> Arrays:
        worker = self._opened[component]
        assert isinstance(worker, _Worker)
        outputs: dict[str, np.ndarray] = worker.ask(arrays)
        return outputs


class LiteRTGPUFloat32Runner(LiteRTGPURunner):
    """The accelerator told to compute in float32, which takes longer on phones."""

    name = "litert_gpu_fp32"
    float32 = True


def refused_ops(said: str) -> dict[str, str]:
    """The kinds of ops that the accelerator does not take, and why, from what LiteRT prints."""
    found = _REFUSED.search(said)
    refused: dict[str, str] = {}
    for line in found[1].splitlines() if found else ():
        op, _, reason = line.partition(": ")
        # After the reason an op's own name may follow, which begins with a slash.
        refused.setdefault(op.strip(), reason.partition(" /")[0].strip().rstrip("."))
    return refused


class WorkerError(RuntimeError):
    """What the process of a file could not do."""


class _Worker:
    """The process of one file. An answer that is an error, or a process that ends, is raised."""

    def __init__(self, threads: int | None) -> None:
        own, other = socket.socketpair()
        inherited = os.environ.get("PYTHONPATH")
        paths = os.pathsep.join(filter(None, [str(_ROOT), inherited]))
        variables = lavapipe.environment(os.environ) | {"PYTHONPATH": paths}
        if threads is not None:
            variables["LP_NUM_THREADS"] = str(threads)  # read by lavapipe alone
        self._said = tempfile.TemporaryFile("w+b")
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", f"{__package__}.gpu_worker", str(other.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
                pass_fds=[other.fileno()],
                env=variables,
            )
        self._connection = Connection(own.detach())

    def ask(self, question: object) -> Any:
        """The answer to a job or to arrays.

        Raises:
            WorkerError: as of :meth:`answer`.
        """
        try:
            self._connection.send(question)
        except OSError:  # it has ended, which its answer will tell
            pass
        return self.answer()

    def answer(self) -> Any:
        """The next answer.

        Raises:
            WorkerError: the process could not do it, or ended.
        """
        try:
            found = self._connection.recv()
        except (EOFError, OSError):
            status = self._process.wait()
            name = signal.Signals(-status).name if status < 0 else f"status {status}"
            raise WorkerError(f"the accelerator crashed with {name}") from None
        if found == READ:
            return READ
        kind, value = found
        if kind == "error":
            raise WorkerError(" ".join(value.split()))
        return value

    def said(self) -> str:
        """What LiteRT has printed so far."""
        self._said.seek(0)
        return self._said.read().decode("utf-8", "replace")

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.kill()
        self._process.wait()
        self._said.close()
