"""Small jobs for engines. Workers import them from here."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mobilesam.engines.base import Job
from mobilesam.errors import CheckpointError, InputError, RefusedError


@dataclass(frozen=True)
class Squares(Job[int, int]):
    """Squares of numbers.

    Attributes:
        folder: where each worker leaves a file named by its process, and what it was given.
        deadly: the item over which a worker kills itself.
        deaths: how often.
    """

    folder: Path
    deadly: int = -1
    deaths: int = 0

    @contextmanager
    def open(self) -> Iterator[Callable[[int], int]]:
        """Nothing to load."""

        def work(item: int) -> int:
            with (self.folder / str(os.getpid())).open("a") as file:
                file.write(f"{item}\n")
            if item == self.deadly and len(list(self.folder.glob("death*"))) < self.deaths:
                (self.folder / f"death{os.getpid()}").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return item * item

        yield work


@dataclass(frozen=True)
class Failing(Job[int, int]):
    """What goes wrong, by name; ``open`` or ``work`` first."""

    how: str

    @contextmanager
    def open(self) -> Iterator[Callable[[int], int]]:
        """Fail, or give what fails."""
        if self.how == "open: refused":
            raise RefusedError("the runtime takes no Foo", "Foo")
        if self.how == "open: checkpoint":
            raise CheckpointError("no such weights")
        if self.how == "open: killed":
            os.kill(os.getpid(), signal.SIGKILL)

        def work(item: int) -> int:
            if self.how == "work: input":
                raise InputError("three is too many")
            raise ValueError("a fault of ours")

        yield work
