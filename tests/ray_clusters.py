"""A Ray cluster for tests, where Ray is installed."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def two_machines() -> Iterator[str]:
    """Address of a cluster of two machines with one core each, both of them on this one.

    Skips where Ray is not installed.
    """
    pytest.importorskip("ray", reason="needs the extra ray")
    from ray.cluster_utils import Cluster

    cores = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=cores | {"include_dashboard": False})
    try:
        cluster.add_node(**cores)
        yield cluster.address
    finally:
        cluster.shutdown()
