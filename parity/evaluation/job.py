"""One photo scored: every mask of it asked for by every type of prompt."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mobilesam.engines.base import Job
from mobilesam.errors import InputError
from mobilesam.inference.images import load_image
from mobilesam.inference.predictor import choose_mask
from mobilesam.inference.prompts import Prompt, make_prompt
from mobilesam.inference.transforms import Frame
from mobilesam.model.build import load_model
from mobilesam.runtimes import open_runner
from mobilesam.runtimes.base import BundleRunner, Runner
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.checked import torch_threads
from mobilesam.runtimes.reference import ReferenceRunner
from parity.evaluation.clicks import correction
from parity.evaluation.masked_photos import MaskedPhoto, TrueMask
from parity.evaluation.scores import PromptName, PromptResult, SegmentResult
from parity.metrics import iou
from parity.photos import unusable_image
from parity.references import masks_of
from parity.schema import UnusableImage


class Scored(NamedTuple):
    """What became of one photo.

    Attributes:
        segments: its masks, in order; none where the photo cannot be used.
        unusable: why it cannot; None where it can.
        engine: what computed.
        weights: name, source, SHA-256 of the tensors and so on.
    """

    segments: list[SegmentResult]
    unusable: UnusableImage | None
    engine: str
    weights: Mapping[str, str]


@dataclass(frozen=True)
class EvaluationJob(Job[MaskedPhoto, Scored]):
    """All that a worker needs to score photos.

    Attributes:
        model: "demo", "official", a checkpoint's path, or the folder of a bundle.
        is_bundle: whether it is one.
        image_size: side of a checkpoint's frame.
        runtime: of the bundle; None takes its first.
        threads: of PyTorch and of the runtime; None leaves their own choice.
    """

    model: str
    is_bundle: bool
    image_size: int
    runtime: str | None = None
    threads: int | None = None

    @contextmanager
    def open(self) -> Iterator[Callable[[MaskedPhoto], Scored]]:
        """Load the model.

        Raises:
            CheckpointError: the checkpoint cannot be loaded.
            BundleError: the bundle's files cannot be loaded.
            MissingDependencyError: the runtime is not installed.
        """
        with ExitStack() as opened:
            opened.enter_context(torch_threads(self.threads))
            runner, weights = self._runner()
            opened.enter_context(runner)
            engine = runner.engine if isinstance(runner, BundleRunner) else "PyTorch"

            def work(photo: MaskedPhoto) -> Scored:
                try:
                    read = ReadPhoto.of(photo, runner.image_size)
                except (InputError, OSError) as error:
                    return Scored([], unusable_image(photo.file, error), engine, weights)
                return Scored(score_photo(runner, read), None, engine, weights)

            yield work

    def _runner(self) -> tuple[Runner, dict[str, str]]:
        """The runner of what was named, and where its weights are from."""
        if self.is_bundle:
            bundle = Bundle(self.model)
            runner = open_runner(bundle, self.runtime or bundle.runtimes[0], threads=self.threads)
            return runner, dict(bundle.manifest.weights)
        loaded = load_model(self.model, image_size=self.image_size)
        return ReferenceRunner(loaded), dict(vars(loaded.weights)) if loaded.weights else {}


class ReadPhoto(NamedTuple):
    """A photo in memory: its pixels [H, W, 3] uint8, and the masks that should be found in it."""

    photo: MaskedPhoto
    rgb: np.ndarray
    frame: Frame
    targets: list[TrueMask]

    @classmethod
    def of(cls, photo: MaskedPhoto, image_size: int) -> "ReadPhoto":
        """Read it.

        Raises:
            InputError: the photo or its masks cannot be used.
            OSError: they cannot be read.
        """
        rgb = load_image(photo.path)
        frame = Frame(rgb.shape[:2], image_size)
        return cls(photo, rgb, frame, photo.targets(frame.original_size))


def score_photo(runner: Runner, read: ReadPhoto) -> list[SegmentResult]:
    """Every mask of a photo, which is encoded once.

    Args:
        runner: opened.
        read: the photo.
    """
    photo, frame = read.photo, read.frame
    embedding = runner.encode(read.rgb)
    return [
        SegmentResult(
            image=photo.file,
            group=photo.group,
            category=target.category,
            area=int(np.count_nonzero(target.mask)),
            prompts=ask(runner, embedding, target, frame),
        )
        for target in read.targets
    ]


def ask(
    runner: Runner, embedding: np.ndarray, target: TrueMask, frame: Frame
) -> dict[PromptName, PromptResult]:
    """Ask for one mask by every type of prompt, and compare.

    Where the first click's mask is already exactly right there is no second click to make, and
    "point, refined" repeats "point".

    Args:
        runner: opened.
        embedding: of the photo, [1, 256, S/16, S/16].
        target: what should be found.
        frame: geometry of the photo.
    """
    size = frame.original_size

    def single(prompt: Prompt) -> PromptResult:
        low_res, predicted, *_ = runner.decode(embedding, prompt, frame)
        mask = masks_of(low_res[:1], frame)[0]
        return PromptResult(iou=iou(mask, target.mask), predicted=float(predicted[0]))

    click = make_prompt([target.point], [1], original_size=size)
    low_res, predicted, *_ = runner.decode(embedding, click, frame)
    masks = masks_of(low_res, frame)
    shown = choose_mask(click, predicted)
    true = [iou(mask, target.mask) for mask in masks]
    point = PromptResult(iou=true[shown], predicted=float(predicted[shown]))

    second = correction(target.mask, masks[shown])
    if second is None:
        refined = point
    else:
        where, label = second
        points, labels = [target.point, where], [1, label]
        refined = single(
            make_prompt(
                points,
                labels,
                mask_input=low_res[shown],
                original_size=size,
                low_res_size=frame.image_size // 4,
            )
        )
    both = make_prompt([target.point], [1], target.box, original_size=size)
    return {
        "point": point,
        "point, best of three": PromptResult(iou=max(true[1:])),
        "box": single(make_prompt(box=target.box, original_size=size)),
        "box and point": single(both),
        "point, refined": refined,
        "filled box": PromptResult(iou=iou(target.filled_box, target.mask)),
    }
