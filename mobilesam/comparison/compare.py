"""``compare_models``: every model in a process of its own, timed in turns."""

import os
import platform
import statistics
import textwrap
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch

from mobilesam import __version__
from mobilesam.comparison.contestants import CLICK, EVERYTHING, PARTS
from mobilesam.comparison.job import FACTS, ComparisonJob, Facts, Sample
from mobilesam.comparison.models import MODELS, chosen_models
from mobilesam.comparison.report import Compared, Comparison, Timing
from mobilesam.cores import available_cores
from mobilesam.data.sample_photos import PHOTOS
from mobilesam.engines.process import WorkerProcess
from mobilesam.errors import InputError, MobileSAMError
from mobilesam.everything.settings import Settings
from mobilesam.inference.images import load_image
from mobilesam.progress import Progress

ROUNDS = 5
LONGEST = 200
"""Characters of what is said of a step that failed."""
THRESHOLDS: dict[str, Any] = {"pred_iou_thresh": 0.4, "stability_score_thresh": 0.7}
"""Of the masks of everything: low enough for the demo weights to leave some."""


def compare_models(
    models: Sequence[str] | None = None,
    *,
    photo: str | Path | None = None,
    threads: int | None = None,
    rounds: int = ROUNDS,
    points_per_side: int = 32,
    ultralytics_points_per_side: int | None = None,
    everything: bool = True,
    warm_up: bool = True,
    progress: bool = True,
    command: str = "",
) -> Comparison:
    """Time models that segment, on one photo, a step of each in turn.

    Args:
        models: of :data:`mobilesam.comparison.models.MODELS`; None: all that can be run here.
        photo: None is one of scikit-image's.
        threads: of PyTorch; None is one for each core.
        rounds: how often each step is timed; where everything is found
            point by point, that is done once.
        points_per_side: of the grid of points for everything.
        ultralytics_points_per_side: of the grid for models that Ultralytics' code asks point by
            point, which takes minutes; None is the same. With fewer the time for all points is
            extrapolated, and said to be.
        everything: whether to find everything in the photo too, which takes minutes.
        warm_up: run each step once before it is timed.
        progress: show it on the terminal.
        command: the command line that makes this comparison again, for it to state.

    Raises:
        InputError: there is no such model, the photo cannot be read, or a process ended while it
            loaded. A step that fails later is left out, and its model's row says why.
        MissingDependencyError: scikit-image is not installed, and no photo was given.
    """
    names = chosen_models(
        None if models is None else list(models),
        ultralytics=find_spec("ultralytics") is not None,
    )
    theirs_asked = any(MODELS[name].is_ultralytics for name in names)
    generators = {
        theirs: {"points_per_side": side, **THRESHOLDS}
        for theirs, side in (
            (False, points_per_side),
            (True, ultralytics_points_per_side or points_per_side),
        )
    }
    for generator in generators.values():
        Settings.of(generator)
    shipped = PHOTOS[0]
    pixels = shipped.load() if photo is None else load_image(photo)
    height, width = pixels.shape[:2]
    click = shipped.clicks[0] if photo is None else (width // 2, height // 2)
    count = threads or available_cores()
    with ExitStack() as opened, Progress(progress, stderr=True) as shown:
        workers: dict[str, WorkerProcess] = {}
        facts: dict[str, Facts] = {}
        with shown.task("loading", len(names)) as step:
            for name in names:
                step(MODELS[name].title)
                generator = generators[MODELS[name].is_ultralytics]
                worker = WorkerProcess(ComparisonJob(name, pixels, click, generator, count))
                opened.callback(worker.close)
                workers[name] = worker
                _hear(worker, name)
                facts[name] = cast(Facts, _ask(worker, name, FACTS))
        turns = [
            (name, task)
            for round_ in range(rounds + warm_up)
            for name in names
            for task in facts[name].steps
            if (task != EVERYTHING or everything)
            and (task not in facts[name].slow or round_ == rounds + warm_up - 1)
        ]
        samples: dict[tuple[str, str], list[Sample]] = {}
        loads: list[float] = []
        failed: dict[str, str] = {}
        with shown.task("timing", len(turns)) as step:
            for name, task in turns:
                step(f"{MODELS[name].title}, {task}")
                if name in failed:
                    continue
                try:
                    sample = cast(Sample, _ask(workers[name], name, task))
                except (MobileSAMError, RuntimeError) as error:
                    # One model's fault must not cost the minutes that the others have taken.
                    failed[name] = f"{task}: {_last_line(error)}"
                    continue
                samples.setdefault((name, task), []).append(sample)
                loads += os.getloadavg()[:1]
    return Comparison(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        tool_version=__version__,
        machine={
            "system": f"{platform.system()} {platform.machine()}",
            "cores": str(available_cores()),
            "torch": torch.__version__,
            **({"ultralytics": version("ultralytics")} if theirs_asked else {}),
        },
        threads=count,
        load=statistics.median(loads) if loads else None,
        photo=shipped.name if photo is None else Path(photo).name,
        photo_size=(height, width),
        points=points_per_side**2,
        command=command,
        models=tuple(
            _compared(name, facts[name], samples, warm_up, failed.get(name, "")) for name in names
        ),
    )


def _compared(
    name: str,
    facts: Facts,
    samples: dict[tuple[str, str], list[Sample]],
    warm_up: bool,
    failed: str,
) -> Compared:
    timings: dict[str, Timing] = {}
    for step in facts.steps:
        timed = samples.get((name, step), [])
        if warm_up and step not in facts.slow:
            timed = timed[1:]
        if not timed:
            continue
        if step == CLICK:
            for part in PARTS:
                seconds, cpu = zip(*(each.parts[part] for each in timed), strict=True)
                timings[part] = Timing.of(seconds, cpu, 0)
        timings[step] = Timing.of(
            [each.seconds for each in timed], [each.cpu for each in timed], timed[-1].masks
        )
    peaks = [
        each.peak_mb for (model, _), found in samples.items() if model == name for each in found
    ]
    return Compared(
        model=name,
        title=MODELS[name].title,
        weights=facts.weights,
        parameters=facts.parameters,
        encoder_parameters=facts.encoder_parameters,
        megabytes=facts.megabytes,
        image_size=MODELS[name].image_size,
        peak_memory_mb=max(peaks, default=None),
        points=facts.points,
        timings=timings,
        failed=failed,
    )


def _last_line(error: Exception) -> str:
    """The last line of what an error says, of a traceback the error itself, cut to a sentence."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return textwrap.shorten(lines[-1], LONGEST, placeholder=" ...")


def _ask(worker: WorkerProcess, name: str, item: str) -> Facts | Sample:
    worker.begin(0, item)
    return cast(Facts | Sample, _hear(worker, name))


def _hear(worker: WorkerProcess, name: str) -> Any:
    message = worker.hear()
    if message is None:
        raise InputError(f"the process that runs {MODELS[name].title} {worker.close()}")
    return message.value
