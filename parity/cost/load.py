"""What else the machine does while it measures."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from time import perf_counter
from typing import Any

BUSY_CORES = 0.2
"""Cores kept busy by other programs from which a report warns of its latencies."""


class LoadOfOthers:
    """Cores that other programs keep busy while the given processes are watched; needs psutil."""

    def __init__(self) -> None:
        self._busy_s = self._wall_s = 0.0

    @contextmanager
    def watching(self, pids: Sequence[int]) -> Iterator[None]:
        """Count what others compute during the block; ``pids`` and this process are not others."""
        psutil = _psutil()
        if psutil is None:
            yield
            return
        begun, before = perf_counter(), _busy_s(psutil, pids)
        yield
        self._wall_s += perf_counter() - begun
        self._busy_s += max(_busy_s(psutil, pids) - before, 0.0)

    def cores(self) -> float | None:
        """How many cores others kept busy, on average; None if nothing was watched."""
        return self._busy_s / self._wall_s if self._wall_s else None


def free_memory_mb() -> float:
    """Memory that programs can take without swapping, in MB; infinite where it is not known."""
    psutil = _psutil()
    return float("inf") if psutil is None else psutil.virtual_memory().available / 1e6


def _psutil() -> Any:
    try:
        import psutil
    except ImportError:  # of the extra for reports
        return None
    return psutil


def _busy_s(psutil: Any, pids: Sequence[int]) -> float:
    """Seconds that the cores have computed for others, or were taken from this machine by its host.

    What a process computed that has ended in between counts as others'.
    """
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    # A guest's seconds are in user's and nice's already.
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    busy = sum(times) - idle - guests
    for pid in (None, *pids):
        with suppress(psutil.Error):
            own = psutil.Process(pid).cpu_times()
            busy -= own.user + own.system
    return float(busy)
