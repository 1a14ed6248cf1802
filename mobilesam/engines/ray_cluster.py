"""Items shared among the machines of a Ray cluster, through Ray Data.

Every machine of the cluster needs this package, and photos and models under the same paths, as on a
shared disk. Results come back to the process that asked; nobody else writes anything.

Ray is spoken to by a process of its own (:mod:`mobilesam.engines.ray_driver`): where it cannot go
on, Ray ends the process that it is in without a word.
"""

import os
import pickle
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import cast

from mobilesam.cores import available_cores
from mobilesam.engines.base import Item, Job, Message, Result
from mobilesam.engines.process import WorkerProcess
from mobilesam.engines.ray_order import Order
from mobilesam.errors import InputError, MissingDependencyError

CONNECT_S = 5.0
"""For which somebody at a cluster's address is waited for."""

ANSWER_S = 60.0
"""For which a cluster's answer is waited for."""

START_S = 300.0
"""For which a cluster of ours is waited for."""

_WANTED = "give the host and port that `ray start --head` printed"


class RayEngine:
    """A Ray cluster, or one on this machine alone that ends with the run.

    Args:
        workers: how many; as many as the cluster has cores (or GPUs) unless given.
        address: of the cluster, as ``ray start`` prints it: host and port, or "auto"; that in
            RAY_ADDRESS unless given.
        gpus: that each worker needs.

    Raises:
        MissingDependencyError: Ray is not installed.
        InputError: nobody is at the address.
    """

    def __init__(self, workers: int | None, address: str | None, gpus: int) -> None:
        if find_spec("ray") is None:
            raise MissingDependencyError(
                'the engine ray needs Ray: pip install "mobilesam-export[ray]"'
            )
        self._workers, self._gpus = workers, gpus
        self._address = address or os.environ.get("RAY_ADDRESS") or None
        if self._address not in (None, "auto"):
            _require_somebody(self._address)

    @contextmanager
    def run(
        self, job: Job[Item, Result], items: Sequence[Item]
    ) -> Iterator[Iterator[tuple[Item, Result]]]:
        """As :meth:`mobilesam.engines.base.Engine.run` has it; opening it connects.

        Raises:
            InputError: no cluster answers, or it has nothing to work with.
        """
        if not items:
            yield iter(())
            return
        order = Order(
            self._address,
            self._workers,
            available_cores(),
            self._gpus,
            pickle.dumps(job),
            [pickle.dumps(item) for item in items],
        )
        driver = WorkerProcess(order, "mobilesam.engines.ray_driver")
        try:
            limit = ANSWER_S if self._address else START_S
            if not driver.connection.poll(limit):
                what = f"answers at '{self._address}'" if self._address else "started here"
                raise InputError(f"no Ray cluster {what} within {limit:g} s: {_WANTED}")
            _heard(driver)
            yield _results(driver, items)
        finally:
            driver.close()


def _results(driver: WorkerProcess, items: Sequence[Item]) -> Iterator[tuple[Item, Result]]:
    for _ in items:
        at, message = _heard(driver).value
        yield items[at], cast(Result, message.result())


def _heard(driver: WorkerProcess) -> Message:
    message = driver.hear()
    if message is None:
        raise InputError(
            f"the process that speaks to Ray {driver.close()}: what is done is kept, and the same "
            "command goes on with it"
        )
    return message


def _require_somebody(address: str | None) -> None:
    """Raises InputError: it is no address, or nobody is there."""
    host, _, port = (address or "").rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise InputError(f"'{address}' is no address of a Ray cluster: {_WANTED}, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        reason = str(error).partition("] ")[2] or str(error)
        raise InputError(
            f"no Ray cluster answers at '{address}' ({reason.lower()}): {_WANTED}"
        ) from None
