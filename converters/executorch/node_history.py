"""What PyTorch's graph passes remember of where each node came from, kept once."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.fx.traceback import NodeSource


@contextmanager
def shared_history() -> Iterator[None]:
    """Within the block nodes share the records of their predecessors instead of copying them.

    Each pass over a graph gives each node a record that holds a deep copy of the one before, for
    people who debug. ExecuTorch makes dozens of passes; copying was 18 % of a conversion's time.
    Records are not changed once they are made, so that one is as good as its copies.
    """
    NodeSource.__deepcopy__ = _itself  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del NodeSource.__deepcopy__  # type: ignore[attr-defined]


def _itself(record: NodeSource, _: dict[int, Any]) -> NodeSource:
    return record
