"""Decoupled distillation: a student encoder learns a teacher's image embeddings.

Zhang et al. 2023, "Faster Segment Anything" (arXiv 2306.14289): mean squared error on the image
embedding alone; prompt encoder and mask decoder are the teacher's, unchanged. Fine-tuning them
together afterwards is `mobilesam train` with the result as its ``init``.

The student is a fresh encoder, or the teacher's own with weights rounded as a scheme rounds them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mobilesam.data.image_files import named, read_names
from mobilesam.errors import InputError
from mobilesam.model.build import build, load_model
from mobilesam.progress import Progress
from mobilesam.training.config import DistillConfig
from mobilesam.training.curves import draw_curves, require_curves
from mobilesam.training.embeddings import EmbeddingCache, fixed_views
from mobilesam.training.initial import initialise
from mobilesam.training.learner import Learner
from mobilesam.training.library import photo_paths
from mobilesam.training.optimisation import freeze_batch_norm, learning_rate
from mobilesam.training.quantization import Rounding, run_quantized
from mobilesam.training.run_folder import CURVES, RunFolder, in_words

CACHE = "embeddings"

RoundingOf = Callable[[nn.Module], Mapping[str, Rounding]]
"""Tells how each weight of an encoder is rounded, by the parameter's name."""


def distill(
    config: DistillConfig,
    folder: Path,
    *,
    rounding_of: RoundingOf | None = None,
    stop_after: int | None = None,
    progress: bool = False,
) -> Path:
    """Run, or continue, a distillation.

    Args:
        config: of the run.
        folder: of the run; the teacher's embeddings are kept in it as well.
        rounding_of: what the configuration's scheme means.
        stop_after: stop, with the state saved, once this many steps are done.
        progress: show progress on stderr.

    Returns:
        The weights: the averaged student with the teacher's prompt encoder and mask decoder.

    Raises:
        InputError: photos, teacher or folder cannot be used.
        MissingDependencyError: a library that the run needs is not installed.
    """
    require_curves()
    run = RunFolder(folder, config)
    last = min(config.steps, stop_after or config.steps)
    with Progress(progress, stderr=True) as shown:
        distillation = Distillation(config, run, rounding_of, shown.track)
        with shown.task("training", config.steps, distillation.learner.step) as step:
            for row in distillation.steps(last):
                step(in_words(row))
    teacher = distillation.teacher.weights
    about = {
        "description": f"distilled from {teacher.name if teacher else 'unnamed weights'}",
        "licence": teacher.licence if teacher else "unknown",
        "steps": f"{distillation.learner.step} of {config.steps}",
        "variant": config.variant if config.scheme is None else distillation.teacher.variant,
    }
    if config.scheme is not None and teacher is not None:
        about |= {"scheme": config.scheme, "teacher_sha256": teacher.sha256}
    weights = run.save_weights(distillation.student_state(), about)
    draw_curves(run.read_log(), folder / CURVES)
    return weights


class Distillation:
    """A distillation between its steps.

    Args:
        config: of the run.
        run: its folder; a state saved there is taken up.
        rounding_of: as in :func:`distill`.
        track: wraps the teacher's work to show how far it has come.
    """

    def __init__(
        self,
        config: DistillConfig,
        run: RunFolder,
        rounding_of: RoundingOf | None = None,
        track: Callable[[Sequence[int], str], Iterable[int]] = lambda items, what: items,
    ) -> None:
        if (config.scheme is None) != (rounding_of is None):
            raise ValueError("rounding_of is to say what the configuration's scheme means")
        self.config = config
        self.teacher = load_model(config.teacher, image_size=config.image_size)
        self.roundings: Mapping[str, Rounding] = {}
        if rounding_of is None:
            student = build(config.variant, config.image_size).image_encoder
            initialise(student, config.seed)
        else:
            student = deepcopy(self.teacher.image_encoder).requires_grad_(True)
            self.roundings = rounding_of(student)
        found = (path.resolve() for place in config.photos for path in photo_paths(place))
        paths = list(dict.fromkeys(found))  # a photo given twice must not be on both sides
        known, unseen = split(paths, config)
        self.known = EmbeddingCache(
            run.path / CACHE, self.teacher, fixed_views(known, config.crops, config.seed)
        )
        self.unseen = EmbeddingCache(run.path / CACHE, self.teacher, fixed_views(unseen, 0, 0))
        for cache in (self.known, self.unseen):
            cache.fill(track)
        self.learner = Learner(student, config, config.ema_decay, run)
        run.begin()
        run.rewind_log(self.learner.step)

    def steps(self, last: int) -> Iterator[dict[str, float | int]]:
        """Take steps until ``last`` are done, yielding what is logged of each."""
        config, learner = self.config, self.learner
        while learner.step < last:
            step = learner.step
            row: dict[str, float | int] = {
                "step": step,
                "stage": 0,
                "image_size": config.image_size,
            }
            if step % config.evaluate_every == 0:
                row["held_out_mse"] = self.held_out_error()
            row["lr"] = learning_rate(step, config.steps, config.lr, config.lr_end, config.warmup)
            row["loss"] = self._learn(row["lr"])
            if step + 1 == config.steps:
                row["held_out_mse_end"] = self.held_out_error()
            learner.done(row)
            yield row
        learner.save()

    @torch.no_grad()
    def held_out_error(self) -> float:
        """Mean squared error of the averaged student on whole photos that it does not learn from.

        Before the first step this is the error of the fresh student.
        """
        model, device = self.learner.average.module.eval(), self.learner.device
        size = self.config.image_size
        errors = [
            F.mse_loss(
                self._answer(model, view.image(size).to(device)),
                self.unseen[index].to(device).float(),
            )
            for index, view in enumerate(self.unseen.views)
        ]
        return float(torch.stack(errors).mean())

    def student_state(self) -> dict[str, Tensor]:
        """State dict of a whole model: the averaged student in the teacher's place."""
        state = self.teacher.state_dict()
        for name, tensor in self.learner.averaged_state().items():
            state[f"image_encoder.{name}"] = tensor
        return state

    def _learn(self, rate: float) -> float:
        """One step; returns the loss."""
        config, learner = self.config, self.learner
        random = np.random.default_rng((config.seed, learner.step))
        chosen = random.choice(len(self.known.views), config.batch)
        images = torch.cat([self.known.views[i].image(config.image_size) for i in chosen])
        wanted = torch.cat([self.known[i] for i in chosen]).float()
        student = learner.module.train()
        if self.roundings:
            freeze_batch_norm(student)  # the file has its statistics as they are
        with torch.autocast(learner.device.type, torch.bfloat16, enabled=config.bf16):
            embeddings = self._answer(student, images.to(learner.device))
        loss = F.mse_loss(embeddings.float(), wanted.to(learner.device))
        learner.learn(loss, rate)
        return float(loss.detach())

    def _answer(self, encoder: nn.Module, images: Tensor) -> Tensor:
        """The embeddings of an encoder with its weights rounded, where they are to be."""
        return run_quantized(encoder, self.roundings, images)


def split(paths: Sequence[Path], config: DistillConfig) -> tuple[list[Path], list[Path]]:
    """Photos to learn from, and photos to be judged on: at least one of each.

    Which side a photo is on depends on its name, so that photos added later move few of the others.

    Args:
        paths: of all photos.
        config: names those held out, or the share of them.

    Raises:
        InputError: a name of no photo, or nothing left on one side.
    """
    if config.held_out is not None:
        files = [str(path) for path in paths]
        unseen = named(files, read_names(config.held_out), config.held_out)
    else:
        count = min(len(paths) - 1, max(1, round(config.held_out_share * len(paths))))
        order = sorted(
            paths, key=lambda path: sha256(f"{config.seed} {path.name}".encode()).digest()
        )
        unseen = {str(path) for path in order[:count]}
    sides = (
        [path for path in paths if str(path) not in unseen],
        [Path(path) for path in sorted(unseen)],
    )
    if not all(sides):
        raise InputError(
            "distillation needs at least two photos: some to learn from, others to be judged on"
        )
    return sides
