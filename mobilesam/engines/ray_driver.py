"""The process that speaks to Ray for :class:`mobilesam.engines.ray_cluster.RayEngine`.

Run as ``python -m mobilesam.engines.ray_driver FD``, where FD is the descriptor of a socket to the
parent, into which nobody else can write. It says ``ready``, then a ``result`` for each item: its
number, and what the worker said.
"""

import logging
import os
import pickle
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam.engines.base import RETRIES, Message
from mobilesam.engines.ray_order import Order
from mobilesam.engines.worker import obey
from mobilesam.errors import InputError, reason_of

_STORE = 256 * 2**20
"""Bytes of the object store of a cluster of ours: items and results are small."""

_MOST_TOGETHER = 16
"""Items that a worker is given at once: they are done again together if it dies."""

_ROOT = Path(__file__).resolve().parents[2]


class Worker:
    """An actor that has loaded a job. An error is a result, so that it comes back as what it is.

    Args:
        job: pickled by the process that started the run.
    """

    def __init__(self, job: bytes) -> None:
        self._work: Callable[[Any], Any] | None = None
        try:
            self._opened = pickle.loads(job).open()  # stays open as long as the actor lives
            self._work = self._opened.__enter__()
        except Exception as error:
            self._failure = Message.of(error)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        """Do the job to items; columns ``at`` and ``item`` become ``at`` and ``message``."""
        messages = [pickle.dumps(self._message(item)) for item in batch["item"]]
        return {"at": batch["at"], "message": messages}

    def _message(self, item: bytes) -> Message:
        if self._work is None:
            return self._failure
        try:
            return Message("result", self._work(pickle.loads(item)))
        except Exception as error:
            return Message.of(error)


def connect(order: Order) -> int:
    """Connect to the cluster, or start one.

    Returns:
        How many workers it is to have.

    Raises:
        InputError: it does not answer, or has nothing to work with.
    """
    import ray

    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    variables = {"PYTHONPATH": path, "OMP_WAIT_POLICY": "PASSIVE"}
    variables |= {n: value for n, value in os.environ.items() if n.startswith("MOBILESAM_")}
    own = {
        "num_cpus": order.workers or order.cores,
        "include_dashboard": False,
        "object_store_memory": _STORE,
    }
    try:
        ray.init(
            address=order.address or "local",
            runtime_env={"env_vars": variables},
            log_to_driver=False,
            logging_level=logging.ERROR,
            **({} if order.address else own),
        )
    except Exception as error:  # Ray's are of many kinds
        where = f"answers at '{order.address}'" if order.address else "can be started here"
        raise InputError(f"no Ray cluster {where} ({reason_of(error)})") from None
    kind, what = ("GPU", "GPU") if order.gpus else ("CPU", "core")
    there = int(ray.cluster_resources().get(kind, 0))
    if there < 1:
        raise InputError(f"the Ray cluster has no {what} to work with: add a machine that has")
    return min(order.workers or there, there, len(order.items))


def results(order: Order, workers: int) -> Iterator[tuple[int, bytes]]:
    """The number of each item, and the pickled message of the worker that had it.

    Raises:
        InputError: the cluster gave up.
    """
    import ray.data
    import ray.util.annotations

    ray.data.DataContext.get_current().enable_progress_bars = False
    together = max(1, min(_MOST_TOGETHER, len(order.items) // (4 * workers)))
    rows = [{"at": at, "item": item} for at, item in enumerate(order.items)]
    data = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // together))
    with warnings.catch_warnings():
        # No other way yet says how often an item is tried, and the default is forever.
        warnings.simplefilter("ignore", ray.util.annotations.RayDeprecationWarning)
        data = data.map_batches(
            Worker,
            fn_constructor_args=[order.job],
            batch_size=1,
            concurrency=workers,
            num_cpus=1,
            num_gpus=order.gpus or None,
            max_restarts=-1,
            max_task_retries=RETRIES,
        )
    try:
        for row in data.iter_rows():
            yield row["at"], row["message"]
    except ray.exceptions.RayError as error:
        raise InputError(
            f"the Ray cluster gave up ({str(error).strip().splitlines()[0]}): a worker died again "
            "and again over one item; what is done is kept"
        ) from None


def serve(parent: Connection) -> None:
    """Carry out the parent's order."""
    order = parent.recv()
    workers = connect(order)
    parent.send(Message("ready"))
    for at, message in results(order, workers):
        parent.send(Message("result", (at, pickle.loads(message))))


if __name__ == "__main__":
    # Under its own name, by which Ray's workers import what is sent to them.
    from mobilesam.engines import ray_driver

    # A cluster of ours ends with this process, and so do our workers on one of somebody's.
    obey(ray_driver.serve)
