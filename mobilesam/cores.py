"""How many processor cores this process may use."""

import os


def available_cores() -> int:
    """Cores that this process may use, which containers and ``taskset`` limit; at least 1."""
    if hasattr(os, "sched_getaffinity"):  # Linux only
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
