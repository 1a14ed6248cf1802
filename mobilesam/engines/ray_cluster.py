"""Items shared among the machines of a Ray cluster, through Ray Data.

Every machine of the cluster needs this package, and photos and models under the same paths, as on a
shared disk. Results come back to the process that asked; nobody else writes anything.
"""

import logging
import os
import pickle
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np

from mobilesam.cores import available_cores
from mobilesam.engines.base import RETRIES, Item, Job, Message, Result
from mobilesam.errors import InputError, MissingDependencyError

CONNECT_S = 5.0
"""For which somebody at a cluster's address is waited for."""

ANSWER_S = 60.0
"""For which a cluster's answer is waited for."""

_STORE = 256 * 2**20
"""Bytes of the object store of a cluster of ours: items and results are small."""

_MOST_TOGETHER = 16
"""Items that a worker is given at once: they are done again together if it dies."""

_ROOT = Path(__file__).resolve().parents[2]


class RayEngine:
    """A Ray cluster, or one on this machine alone that ends with the run.

    Args:
        workers: how many; as many as the cluster has cores (or GPUs) unless given.
        address: of the cluster, as ``ray start`` prints it: host and port, or "auto".
        gpus: that each worker needs.

    Raises:
        MissingDependencyError: Ray is not installed.
        InputError: no cluster answers at the address.
    """

    def __init__(self, workers: int | None, address: str | None, gpus: int) -> None:
        self._workers, self._gpus = workers, gpus
        self._address = address or os.environ.get("RAY_ADDRESS") or None
        self._ray = _ray()
        if self._address is not None and not self._ray.is_initialized():
            _require_answer(self._address)

    @contextmanager
    def run(
        self, job: Job[Item, Result], items: Sequence[Item]
    ) -> Iterator[Iterator[tuple[Item, Result]]]:
        """As :meth:`mobilesam.engines.base.Engine.run` has it."""
        if not items:
            yield iter(())
            return
        ours = not self._ray.is_initialized()
        if ours:
            self._connect()
        try:
            yield self._results(job, items)
        finally:
            if ours:
                self._ray.shutdown()

    def _connect(self) -> None:
        own: dict[str, Any] = {
            "num_cpus": self._workers or available_cores(),
            "include_dashboard": False,
        }
        own["object_store_memory"] = _STORE
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        variables = {"PYTHONPATH": path, "OMP_WAIT_POLICY": "PASSIVE"}
        variables |= {n: value for n, value in os.environ.items() if n.startswith("MOBILESAM_")}
        self._ray.init(
            address=self._address or "local",
            runtime_env={"env_vars": variables},
            log_to_driver=False,
            logging_level=logging.ERROR,
            **({} if self._address else own),
        )

    def _results(
        self, job: Job[Item, Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result]]:
        import ray.data
        import ray.util.annotations

        logging.getLogger("ray.data").setLevel(logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False
        there = int(self._ray.cluster_resources().get("GPU" if self._gpus else "CPU", 0))
        workers = min(self._workers or there, there, len(items))
        if workers < 1:
            what = "GPU" if self._gpus else "core"
            raise InputError(f"the Ray cluster has no {what} to work with: add a machine that has")
        together = max(1, min(_MOST_TOGETHER, len(items) // (4 * workers)))
        rows = [{"at": at, "item": pickle.dumps(item)} for at, item in enumerate(items)]
        results = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // together))
        with warnings.catch_warnings():
            # No other way yet says how often an item is tried, and the default is forever.
            warnings.simplefilter("ignore", ray.util.annotations.RayDeprecationWarning)
            results = results.map_batches(
                _Worker,
                fn_constructor_args=[pickle.dumps(job)],
                batch_size=1,
                concurrency=workers,
                num_cpus=1,
                num_gpus=self._gpus or None,
                max_restarts=-1,
                max_task_retries=RETRIES,
            )
        try:
            for row in results.iter_rows():
                message: Message = pickle.loads(row["message"])
                yield items[row["at"]], cast(Result, message.result())
        except ray.exceptions.RayError as error:
            raise InputError(
                f"the Ray cluster gave up ({str(error).strip().splitlines()[0]}): a worker died "
                "again and again over one item; what is done is kept"
            ) from error


class _Worker:
    """An actor that has loaded a job. An error is a result, so that it comes back as what it is."""

    def __init__(self, job: bytes) -> None:
        self._work: Callable[[Any], Any] | None = None
        # Our own driver pickled the job; it stays open as long as the actor lives.
        try:
            self._opened = pickle.loads(job).open()
            self._work = self._opened.__enter__()
        except Exception as error:
            self._failure = Message.of(error)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        messages = [pickle.dumps(self._message(item)) for item in batch["item"]]
        return {"at": batch["at"], "message": messages}

    def _message(self, item: bytes) -> Message:
        if self._work is None:
            return self._failure
        try:
            return Message("result", self._work(pickle.loads(item)))
        except Exception as error:
            return Message.of(error)


def _ray() -> ModuleType:
    try:
        import ray
    except ImportError:
        raise MissingDependencyError(
            'the engine ray needs Ray: pip install "mobilesam-export[ray]"'
        ) from None
    module: ModuleType = ray
    return module


def _require_answer(address: str) -> None:
    """Raises InputError: no cluster answers at the address, within a bounded time."""
    wanted = "give the host and port that `ray start --head` printed"
    if address != "auto":
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or "/" in host:
            raise InputError(f"'{address}' is no address of a Ray cluster: {wanted}, or auto")
        try:
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
        except (OSError, OverflowError) as error:
            reason = str(error).partition("] ")[2] or str(error)
            raise InputError(
                f"no Ray cluster answers at '{address}' ({reason.lower()}): {wanted}"
            ) from None
    # In a process of its own: who is no cluster may never answer, and Ray's own time limits end the
    # whole process.
    probe = "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False)"
    try:
        done = subprocess.run(
            [sys.executable, "-c", probe, address],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ANSWER_S,
        )
    except subprocess.TimeoutExpired:
        raise InputError(
            f"no Ray cluster answers at '{address}' within {ANSWER_S:g} s: {wanted}"
        ) from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise InputError(f"no Ray cluster answers at '{address}' ({lines[-1].strip()}): {wanted}")
