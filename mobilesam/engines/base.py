"""What an engine is given, and what it gives back."""

import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

from mobilesam.errors import BundleError, MobileSAMError, RefusedError

Item = TypeVar("Item")
Result = TypeVar("Result")

RETRIES = 1
"""How often an item is tried again when the worker that had it died: once may be chance."""


class Job(ABC, Generic[Item, Result]):
    """Work that is the same for many items. It is pickled and sent to every worker.

    Items and results are pickled too, and some of them wait in memory for their turn: they should
    be small, such as a photo's path and the text of its labels.
    """

    @abstractmethod
    def open(self) -> AbstractContextManager[Callable[[Item], Result]]:
        """Load what the work needs, once in a worker; what comes is called with each item.

        Whatever either of them raises ends the run.
        """


class Engine(Protocol):
    """Where the work is done."""

    def run(
        self, job: Job[Item, Result], items: Sequence[Item]
    ) -> AbstractContextManager[Iterator[tuple[Item, Result]]]:
        """Do a job to every item.

        Args:
            job: the work.
            items: in the order in which they are begun.

        Returns:
            To be opened by ``with``, whose end stops all that still runs: pairs of an item and its
            result, as they are finished, in no order that can be relied on.

        Raises:
            MobileSAMError: that a worker raised.
            InputError: workers died again and again over one item, or before they had any.
        """


class Message(NamedTuple):
    """What a worker says.

    Attributes:
        kind: ``ready`` once, then ``result`` for each item; ``refused`` where a user can do
            something about an error, ``failed`` where it is a fault of ours.
        value: the result; of an error its type and what it says, or the traceback.
    """

    kind: Literal["ready", "result", "refused", "failed"]
    value: Any = None

    @classmethod
    def of(cls, error: Exception) -> "Message":
        """What a worker says of an error; to be called where it is caught."""
        if not isinstance(error, MobileSAMError):
            return cls("failed", traceback.format_exc())
        # A refusal is the only error that is made of more than a sentence.
        kind = BundleError if isinstance(error, RefusedError) else type(error)
        return cls("refused", (kind, str(error)))

    def result(self) -> Any:
        """The value.

        Raises:
            MobileSAMError: the worker raised it.
            RuntimeError: it failed by a fault of ours; its traceback is the message.
        """
        if self.kind == "refused":
            kind, sentence = self.value
            error: MobileSAMError = kind(sentence)
            raise error
        if self.kind == "failed":
            raise RuntimeError(f"a worker process failed:\n{self.value}")
        return self.value
