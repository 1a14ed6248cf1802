"""Load time, latency and memory, each component in a process of its own, latencies in turns.

Whatever slows a machine down for some seconds must slow down all that is compared. So the processes
of one component stay alive together, and run one after the other, round after round. Only one
computes at a time.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from mobilesam.bundle.contract import COMPONENTS
from mobilesam.cores import available_cores
from mobilesam.errors import BundleError
from mobilesam.progress import Step
from mobilesam.runtimes.bundle import Bundle
from parity.cost.load import LoadOfOthers, free_memory_mb
from parity.cost.process import Worker
from parity.schema import Measurement, Timing

BUDGET_S = 3.0
"""Seconds of timed runs for each component of a bundle, but for the least number of rounds."""

MIN_ROUNDS, MAX_ROUNDS = 6, 9
"""Of six values the least and the largest enclose the median 19 times in 20, and of no fewer; of
nine the second ones do."""

SPARE = 2.0
"""The next process is started only while this many times what the largest took is free."""


class Job(NamedTuple):
    """What is to be measured.

    Attributes:
        title: for the progress.
        facts: for :func:`parity.cost.worker.serve`, but for component and threads.
    """

    title: str
    facts: dict[str, Any]


def bundle_job(
    bundle: Bundle, runtime: str, compute_units: str | None = None, title: str = ""
) -> Job:
    """A bundle on one runtime.

    Args:
        bundle: already verified; its files are run.
        runtime: one of ``bundle.runtimes``.
        compute_units: of Core ML on a Mac.
        title: what the progress calls it.
    """
    units = compute_units and runtime == "coreml"
    facts = {
        "kind": "bundle",
        "bundle": str(bundle.path.resolve()),
        "runtime": runtime,
        "options": {"compute_units": compute_units} if units else {},
    }
    return Job(title or f"{bundle.name} on {runtime}", facts)


def reference_job(weights: str, variant: str, image_size: int) -> Job:
    """The PyTorch model; arguments as for :func:`mobilesam.load_model`."""
    given = str(Path(weights).resolve()) if Path(weights).exists() else weights
    facts = {"kind": "reference", "weights": given, "variant": variant, "image_size": image_size}
    return Job("PyTorch", facts)


def measure_bundle(
    bundle: Bundle,
    runtime: str,
    threads: int | None = None,
    compute_units: str | None = None,
    *,
    budget_s: float = BUDGET_S,
) -> list[Measurement]:
    """What encoder and decoder of one bundle cost; arguments as of the functions above and below.

    Raises:
        BundleError: a process failed, or did not answer in time.
    """
    return _alone(bundle_job(bundle, runtime, compute_units), threads, budget_s)


def measure_reference(
    weights: str,
    variant: str,
    image_size: int,
    threads: int | None = None,
    *,
    budget_s: float = BUDGET_S,
) -> list[Measurement]:
    """What encoder and decoder cost in PyTorch, measured in the same way.

    Raises:
        BundleError: as of :func:`measure_bundle`.
    """
    return _alone(reference_job(weights, variant, image_size), threads, budget_s)


def _alone(job: Job, threads: int | None, budget_s: float) -> list[Measurement]:
    (found,) = measure_in_turns([job], threads, budget_s=budget_s).found
    if isinstance(found, BundleError):
        raise found
    return found


class Costs(NamedTuple):
    """What was measured.

    Attributes:
        found: for each job the measurements of encoder and decoder, or why there are none.
        others: how many cores other programs kept busy, on average; None if it is not known.
    """

    found: list[list[Measurement] | BundleError]
    others: float | None


def measure_in_turns(
    jobs: Sequence[Job],
    threads: int | None = None,
    *,
    budget_s: float = BUDGET_S,
    step: Step = lambda _: None,
) -> Costs:
    """What encoder and decoder of each job cost.

    Args:
        jobs: whose latencies are to be compared with each other.
        threads: of every runtime; None takes one for each core.
        budget_s: seconds of timed runs for each component of each job.
        step: called with what is being done, :func:`steps` times at most.
    """
    shared = {"threads": threads or available_cores()}
    found: list[list[Measurement] | BundleError] = [[] for _ in jobs]
    load = LoadOfOthers()
    for component in COMPONENTS:
        waiting = list(enumerate(jobs))
        while waiting:
            waiting = _batch(
                waiting, found, shared | {"component": component}, budget_s, load, step
            )
    return Costs(found, load.cores())


def steps(jobs: int) -> int:
    """How many steps measuring so many jobs takes at least: a start and a component each."""
    return len(COMPONENTS) * (jobs + 1)


def _batch(
    waiting: list[tuple[int, Job]],
    found: list[list[Measurement] | BundleError],
    shared: dict[str, Any],
    budget_s: float,
    load: LoadOfOthers,
    step: Step,
) -> list[tuple[int, Job]]:
    """Measure one component of as many jobs as fit into memory; return the jobs that are left.

    What is emulated says nothing of a device: it runs once, and takes no turns.
    """
    seconds: dict[int, list[list[float]]] = {}
    workers: dict[int, Worker] = {}
    batch = waiting[0][0]
    largest = 0.0
    with ExitStack() as alive:
        while waiting and (not workers or free_memory_mb() > SPARE * largest):
            place, job = waiting.pop(0)
            before = found[place]
            if isinstance(before, BundleError):  # its encoder could not be measured
                continue
            step(job.title)
            try:
                worker = Worker(job.facts | shared)
            except BundleError as error:
                found[place] = error
                continue
            with ExitStack() as own:
                own.enter_context(worker)
                largest = max(largest, worker.facts["peak_memory_mb"] or 0.0)
                if not worker.facts["representative"]:
                    before.append(_measurement(worker, [[worker.facts["first_s"]]], None))
                    continue
                workers[place], seconds[place] = worker, []
                alive.push(own.pop_all())
        if workers:
            step(f"{shared['component']}s in turns")
            with load.watching([worker.pid for worker in workers.values()]):
                _rounds(workers, seconds, found, budget_s)
        for place, worker in workers.items():
            own_list = found[place]
            if not isinstance(own_list, BundleError):
                own_list.append(_measurement(worker, seconds[place], batch))
    return waiting


def _rounds(
    workers: dict[int, Worker],
    seconds: dict[int, list[list[float]]],
    found: list[list[Measurement] | BundleError],
    budget_s: float,
) -> None:
    """Let every worker take its turn, round after round; each round begins with another."""
    begun = perf_counter()
    places = list(workers)
    for number in range(MAX_ROUNDS):
        if number >= MIN_ROUNDS and perf_counter() - begun > budget_s * len(workers):
            break
        first = number % len(places)
        for place in (*places[first:], *places[:first]):
            if isinstance(found[place], BundleError):
                continue
            try:
                seconds[place].append(workers[place].turn())
            except BundleError as error:
                found[place] = error


def _measurement(
    worker: Worker, turns: Sequence[Sequence[float]], batch: int | None
) -> Measurement:
    runs = [taken for turn in turns for taken in turn]
    # A slow round has fewer runs: it must not count for less than a fast one.
    weights = [1 / len(turn) for turn in turns for _ in turn]
    medians = [float(np.median(turn)) for turn in turns]
    timing = Timing(
        median_s=float(np.median(medians)),
        p90_s=float(np.quantile(runs, 0.9, weights=weights, method="inverted_cdf")),
        runs=len(runs),
        rounds_s=[] if batch is None else medians,
        batch=batch,
    )
    facts = {name: value for name, value in worker.facts.items() if name != "first_s"}
    return Measurement(timing=timing, **facts)
