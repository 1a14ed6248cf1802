"""What a process of the comparison does: load one model, then run a step of it whenever asked."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from mobilesam.comparison.contestants import Pixels, load, quieten
from mobilesam.comparison.models import MODELS
from mobilesam.engines.base import Job
from mobilesam.memory import peak_memory_mb

FACTS = "facts"
"""The item that asks what was loaded, instead of a step."""


class Facts(NamedTuple):
    """What was loaded; see :class:`mobilesam.comparison.report.Compared` for the fields."""

    weights: str
    parameters: int
    encoder_parameters: int | None
    megabytes: float
    steps: tuple[str, ...]
    slow: frozenset[str]
    points: int | None


class Sample(NamedTuple):
    """One run of a step.

    Attributes:
        seconds, cpu: on the clock, and CPU seconds of all threads.
        masks: how many there were.
        peak_mb: most memory that the process has had so far, 10^6 bytes.
        parts: the same two of each part that the step has.
    """

    seconds: float
    cpu: float
    masks: int
    peak_mb: float
    parts: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class ComparisonJob(Job[str, Facts | Sample]):
    """One model.

    Attributes:
        name: of :data:`mobilesam.comparison.models.MODELS`.
        photo: HxWx3 uint8 RGB.
        click: x, y in pixels of the photo.
        generator: parameters of :class:`mobilesam.everything.MaskGenerator`.
        threads: of PyTorch.
    """

    name: str
    photo: Pixels
    click: tuple[int, int]
    generator: dict[str, Any]
    threads: int

    @contextmanager
    def open(self) -> Iterator[Callable[[str], Facts | Sample]]:
        """Load the model.

        Raises:
            MobileSAMError: it cannot be loaded.
        """
        quieten()
        model = MODELS[self.name]
        loaded = load(model, self.photo, self.click, self.generator)

        def work(item: str) -> Facts | Sample:
            if item == FACTS:
                return Facts(
                    loaded.weights,
                    loaded.parameters(),
                    loaded.encoder_parameters(),
                    loaded.megabytes(),
                    tuple(loaded.steps),
                    loaded.slow,
                    loaded.points,
                )
            torch.set_num_threads(self.threads)  # Ultralytics' package sets a number of its own
            for watch in loaded.parts.values():
                watch.clear()
            begun, cpu = time.perf_counter(), time.process_time()
            masks = loaded.steps[item]()
            seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
            parts = {part: (watch.seconds, watch.cpu) for part, watch in loaded.parts.items()}
            return Sample(seconds, cpu, masks, peak_memory_mb(), parts)

        yield work
