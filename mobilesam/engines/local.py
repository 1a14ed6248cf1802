"""Items shared among processes of this machine."""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import cast

from mobilesam.cores import available_cores
from mobilesam.engines.base import RETRIES, Item, Job, Result
from mobilesam.engines.process import WorkerProcess
from mobilesam.errors import InputError


class LocalEngine:
    """Processes of this machine, one thread each.

    How many there are changes nothing in the results.

    Args:
        workers: how many; as many as there are cores unless given.
    """

    def __init__(self, workers: int | None = None) -> None:
        self._most = available_cores() if workers is None else workers

    @contextmanager
    def run(
        self, job: Job[Item, Result], items: Sequence[Item]
    ) -> Iterator[Iterator[tuple[Item, Result]]]:
        """As :meth:`mobilesam.engines.base.Engine.run` has it."""
        workers: list[WorkerProcess] = []
        try:
            yield self._results(job, items, workers)
        finally:
            for worker in workers:
                worker.close()

    def _results(
        self, job: Job[Item, Result], items: Sequence[Item], workers: list[WorkerProcess]
    ) -> Iterator[tuple[Item, Result]]:
        waiting = deque(range(len(items)))
        deaths: Counter[int | None] = Counter()
        while waiting or any(worker.at is not None for worker in workers):
            for worker in workers:
                if waiting and worker.idle:
                    first = waiting.popleft()
                    worker.begin(first, items[first])
            # The first worker alone at first: what is wrong with the job is then said once.
            most = self._most if any(worker.ready for worker in workers) else 1
            loading = sum(not worker.ready for worker in workers)
            for _ in range(min(most - len(workers), len(waiting) - loading)):
                workers.append(WorkerProcess(job))
            heard = wait([worker.connection for worker in workers])
            for worker in [each for each in workers if each.connection in heard]:
                at = worker.at
                message = worker.hear()
                if message is None:
                    workers.remove(worker)
                    how = worker.close()
                    deaths[at] += 1
                    if deaths[at] > RETRIES:
                        raise InputError(_death(how, None if at is None else items[at]))
                    if at is not None:
                        waiting.appendleft(at)
                elif at is not None:
                    yield items[at], cast(Result, message.value)


def _death(how: str, item: object) -> str:
    over = "before it had any work" if item is None else f"over {item}, and so was one before it"
    return (
        f"a worker process {how} {over}: run with fewer workers if memory is short; what is done "
        "is kept"
    )
