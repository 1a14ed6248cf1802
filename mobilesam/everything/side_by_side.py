"""Answers to several points computed at the same time, a thread each.

The sums of one point are too small to share: two threads working on one answer wait for each other
more than they save.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from mobilesam.runtimes.checked import torch_threads

Answer = TypeVar("Answer")


def side_by_side(
    answer: Callable[[int], Answer], indices: Sequence[int], threads: int
) -> Iterator[Answer]:
    """Answers in the order of their indices.

    PyTorch has one thread for each answer, and for what the caller does between two of them.

    Args:
        answer: computes the answer of an index, in whatever thread.
        threads: how many answers are computed at the same time; 1 computes each when it is asked
            for.
    """
    if threads == 1:
        yield from map(answer, indices)
        return
    waiting = deque[Future[Answer]]()
    with (
        torch_threads(1),
        ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        for index in indices:
            waiting.append(pool.submit(answer, index))
            if len(waiting) > 2 * threads:  # answers are large: not all are computed ahead
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
