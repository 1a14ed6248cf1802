"""What the process that speaks to Ray is told."""

from typing import NamedTuple


class Order(NamedTuple):
    """A run.

    Attributes:
        address: of the cluster; None for a new one on this machine.
        workers: how many; None for as many as there are cores, or GPUs.
        cores: of this machine, for a new cluster.
        gpus: that each worker needs.
        job: pickled.
        items: pickled, each.
    """

    address: str | None
    workers: int | None
    cores: int
    gpus: int
    job: bytes
    items: list[bytes]
