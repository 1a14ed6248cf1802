"""Items worked through one by one, in the process that asks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mobilesam.engines.base import Item, Job, Result


class InlineEngine:
    """No workers: the job is opened here, with as many threads as the runtime takes."""

    @contextmanager
    def run(
        self, job: Job[Item, Result], items: Sequence[Item]
    ) -> Iterator[Iterator[tuple[Item, Result]]]:
        """As :meth:`mobilesam.engines.base.Engine.run` has it; results come in order."""
        with job.open() as work:
            yield ((item, work(item)) for item in items)
