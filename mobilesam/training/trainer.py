"""The loop of promptable training: stages of growing image size, resumable at any moment."""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError
from torch.utils.data import DataLoader, Sampler

from mobilesam.errors import InputError, MobileSAMError
from mobilesam.model.sam import MobileSAM
from mobilesam.progress import Progress
from mobilesam.training.config import Stage, TrainConfig
from mobilesam.training.curves import draw_curves, require_curves
from mobilesam.training.dataset import Batch, TrainingImages, collate
from mobilesam.training.geometry import learn_geometry
from mobilesam.training.initial import initial_model
from mobilesam.training.learner import Learner
from mobilesam.training.library import Library, load_library
from mobilesam.training.optimisation import estimate_batch_norm, freeze_batch_norm, learning_rate
from mobilesam.training.promptable import training_step
from mobilesam.training.quick import quicken
from mobilesam.training.run_folder import CURVES, RunFolder, in_words

REGION_CACHE = "regions"


def train(
    config: TrainConfig,
    folder: Path,
    *,
    workers: int = 1,
    stop_after: int | None = None,
    progress: bool = False,
) -> Path:
    """Run, or continue, a training run.

    Args:
        config: of the run.
        folder: of the run; see :class:`mobilesam.training.run_folder.RunFolder`.
        workers: processes that prepare images; 0 prepares them in this one.
        stop_after: stop, with the state saved, once this many steps of the run are done.
        progress: show progress on stderr.

    Returns:
        The weights: fp16 safetensors of the averaged model.

    Raises:
        InputError: the data, the initial weights or the folder cannot be used.
        MissingDependencyError: a library that the run needs is not installed.
    """
    require_curves()
    run = RunFolder(folder, config, lambda stored, step: _same_so_far(stored, config, step))
    model = initial_model(
        config.variant,
        config.init,
        config.stages[0].image_size,
        config.seed,
        fresh_decoder=config.fresh_decoder,
    )
    wants_regions = any(stage.sources.regions for stage in config.stages)
    last = min(config.total_steps, stop_after or config.total_steps)
    with Progress(progress, stderr=True) as shown:
        library = load_library(
            config.data,
            with_regions=wants_regions,
            cache=folder / REGION_CACHE,
            track=shown.track,
        )
        training = Training(config, run, model, library, workers)
        learner = training.learner
        if learner.is_new and config.geometry.steps:
            training.learn_geometry(shown.track)
        with shown.task("training", config.total_steps, learner.step) as step:
            for row in training.steps(last):
                step(in_words(row))
    if learner.step == config.total_steps:
        training.estimate_batch_norm()
    about = {
        "description": config.description,
        "licence": config.licence,
        "steps": f"{learner.step} of {config.total_steps}",
        "variant": config.variant,
    }
    weights = run.save_weights(learner.averaged_state(), about)
    draw_curves(run.read_log(), folder / CURVES)
    return weights


class Training:
    """A run between its steps.

    Args:
        config: of the run.
        run: its folder; a state saved there is taken up.
        model: as it is before the first step.
        library: the images.
        workers: processes that prepare images.
    """

    def __init__(
        self, config: TrainConfig, run: RunFolder, model: MobileSAM, library: Library, workers: int
    ) -> None:
        self.config, self.run, self.model, self.workers = config, run, model, workers
        self.images = [
            TrainingImages(library, stage, config.seed, number)
            for number, stage in enumerate(config.stages)
        ]
        self.learner = Learner(model, config, config.stages[0].ema_decay, run)
        if config.bf16 and self.learner.device.type == "cpu":
            quicken(model)
        run.begin()
        run.rewind_log(-config.geometry.steps if self.learner.is_new else self.learner.step)

    def learn_geometry(self, track: Callable[[Sequence[int], str], Iterable[int]]) -> None:
        """Let the decoder learn what prompts mean, before the first step of the first stage."""
        config = self.config
        rows = learn_geometry(self.model, config)
        for step, row in zip(track(range(config.geometry.steps), "geometry"), rows, strict=True):
            self.run.log({"step": step - config.geometry.steps, "stage": -1, **row})
        self.learner.restart_average(config.stages[0].ema_decay)
        self.learner.save()

    def steps(self, last: int) -> Iterator[dict[str, float | int]]:
        """Take steps until ``last`` are done, yielding what is logged of each."""
        begin = 0
        for number, stage in enumerate(self.config.stages):
            end = begin + stage.steps
            if begin <= self.learner.step < min(end, last):
                yield from self._stage(number, stage, begin, min(end, last))
            begin = end
        self.learner.save()

    def estimate_batch_norm(self) -> None:
        """Take the averaged weights' batch-norm statistics anew, on images after the last step's.

        The saved state keeps those that it had, so a run that is taken up again goes on from them.
        """
        config, stage, number = self.config, self.config.stages[-1], len(self.config.stages) - 1
        if not config.batch_norm_batches:
            return
        end = stage.steps + config.batch_norm_batches
        device = self.learner.device
        encoder = self.learner.average.module.get_submodule("image_encoder")
        batches = self._batches(number, stage, stage.steps, end)
        with torch.autocast(device.type, torch.bfloat16, enabled=config.bf16):
            estimate_batch_norm(encoder, (batch.to(device).images for batch in batches))

    def _stage(
        self, number: int, stage: Stage, begin: int, end: int
    ) -> Iterator[dict[str, float | int]]:
        config, learner = self.config, self.learner
        self.model.set_image_size(stage.image_size)
        learner.set_ema_decay(stage.ema_decay)
        self.model.train()
        if stage.freeze_batch_norm:
            freeze_batch_norm(self.model)
        started = time.perf_counter()
        for batch in self._batches(number, stage, learner.step - begin, end - begin):
            local = learner.step - begin
            generator = torch.Generator().manual_seed(_seed(config.seed, number, local))
            result = training_step(
                self.model, batch.to(learner.device), stage, generator, bf16=config.bf16
            )
            rate = learning_rate(local, stage.steps, stage.lr, stage.lr_end, stage.warmup)
            norm = learner.learn(result.loss, rate)
            row: dict[str, float | int] = {
                "step": learner.step,
                "stage": number,
                "image_size": stage.image_size,
                "lr": rate,
                "grad_norm": norm,
                **result.logged,
                "seconds": time.perf_counter() - started,
            }
            started = time.perf_counter()
            learner.done(row)
            yield row

    def _batches(self, number: int, stage: Stage, first: int, last: int) -> Iterator[Batch]:
        sampler = _Consecutive(first * stage.batch, last * stage.batch)
        loader = DataLoader(
            self.images[number],
            batch_size=stage.batch,
            sampler=sampler,
            collate_fn=collate,
            num_workers=self.workers,
            worker_init_fn=_single_thread,
        )
        try:
            yield from loader
        except MobileSAMError as error:  # from a worker, its sentence ends a traceback
            sentence = re.sub(r"^[\w.]+Error: ", "", str(error).strip().splitlines()[-1])
            raise InputError(sentence) from None


class _Consecutive(Sampler[int]):
    """The numbers of the images from ``first`` up to ``last``, in order."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.last))

    def __len__(self) -> int:
        return self.last - self.first


def _same_so_far(stored: str, config: TrainConfig, step: int) -> bool:
    """Whether a stored configuration differs only in stages that were not begun by ``step``."""
    try:
        before = TrainConfig.model_validate_json(stored)
    except ValidationError:  # of a distillation, or damaged
        return False
    begun, first = 0, 0
    for stage in before.stages:
        begun += first < step
        first += stage.steps
    same = before.model_copy(update={"stages": config.stages}) == config
    return same and before.stages[:begun] == config.stages[:begun]


def _single_thread(worker: int) -> None:
    torch.set_num_threads(1)


def _seed(*numbers: int) -> int:
    """One seed of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
