"""The order that a worker process gets, and the outcome that it reports."""

import pickle
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from converters.spec import ExportSpec


@dataclass(frozen=True, kw_only=True)
class Task:
    """One bundle to be written.

    Attributes:
        spec: of the bundle.
        model: file that ``torch.save`` wrote of the whole model.
        folder: where the bundle's files go; it exists.
        shared: folder for what several workers can use.
        outcome: where an :class:`Outcome` goes.
        threads: that the worker may use.
    """

    spec: ExportSpec
    model: Path
    folder: Path
    shared: Path
    outcome: Path
    threads: int


class Outcome(BaseModel):
    """What a worker reports at its end; a worker that dies writes none."""

    error: str | None = None
    disk_full: bool = False


def write_task(task: Task, path: Path) -> None:
    """Write a task for the worker."""
    path.write_bytes(pickle.dumps(task))


def read_task(path: Path) -> Task:
    """Read what :func:`write_task` wrote; unpickling any other file would be unsafe."""
    task: Task = pickle.loads(path.read_bytes())
    return task
