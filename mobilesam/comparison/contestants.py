"""The models of the comparison, loaded, each with the steps of it that can be timed."""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mobilesam.comparison.models import Family, Model
from mobilesam.errors import InputError, MobileSAMError, reason_of
from mobilesam.everything import MaskGenerator
from mobilesam.inference.predictor import Predictor
from mobilesam.model.build import VARIANTS, build, load_model
from mobilesam.model.sam import MobileSAM
from mobilesam.weights.download import cache_folder
from mobilesam.weights.published import PUBLISHED

Pixels = npt.NDArray[np.uint8]

ENCODER, DECODER, CLICK, EVERYTHING = "encoder", "decoder", "click", "everything"
PARTS = (ENCODER, DECODER)
"""Of a click: the prepared image to its embedding; the click to low-res masks."""
STEPS = (*PARTS, CLICK, EVERYTHING)
"""A click is from the photo to the mask at the photo's size; everything, to all masks."""

ALONE = "architecture alone"
"""Said of a model whose weights are not here: they are random."""

OWN_NAMES = "prompt_encoder", "mask_decoder"
"""Of the modules in the original SAM."""

SEED = 0


class Contestant(ABC):
    """A loaded model.

    Attributes:
        weights: what it computes with, in words.
        steps: name to what runs it once and returns the number of masks.
        parts: name to what adds up the time of a part of each step; cleared by who reads it.
        slow: steps that take so long that they are run once.
        points: that are asked about for everything; None where a model finds all in one pass.
    """

    weights: str
    steps: dict[str, Callable[[], int]]
    parts: "dict[str, Watch]"
    slow: frozenset[str] = frozenset({EVERYTHING})
    points: int | None

    @property
    @abstractmethod
    def module(self) -> nn.Module:
        """The network."""

    def parameters(self) -> int:
        """Of the whole network."""
        return sum(each.numel() for each in self.module.parameters())

    def encoder_parameters(self) -> int | None:
        """Of the image encoder; None where there is none by itself."""
        encoder = getattr(self.module, "image_encoder", None)
        return None if encoder is None else sum(each.numel() for each in encoder.parameters())

    def megabytes(self) -> float:
        """Of a checkpoint in float32 (10^6 bytes)."""
        state = self.module.state_dict().values()
        return sum(each.numel() * (4 if each.is_floating_point() else 8) for each in state) / 1e6


class Watch:
    """Adds up seconds on the clock and CPU seconds of modules whenever they are called."""

    def __init__(self, *modules: nn.Module) -> None:
        self.clear()
        for module in modules:
            module.register_forward_pre_hook(self._begin)
            module.register_forward_hook(self._end)

    def clear(self) -> None:
        """Begin at zero."""
        self.seconds = self.cpu = 0.0

    def _begin(self, *_: object) -> None:
        self._begun = time.perf_counter(), time.process_time()

    def _end(self, *_: object) -> None:
        seconds, cpu = self._begun
        self.seconds += time.perf_counter() - seconds
        self.cpu += time.process_time() - cpu


class SamContestant(Contestant):
    """This toolkit's code.

    Args:
        model: of the table.
        photo: HxWx3 uint8 RGB.
        click: x, y in pixels of the photo.
        generator: parameters of :class:`mobilesam.everything.MaskGenerator`.
    """

    def __init__(
        self, model: Model, photo: Pixels, click: tuple[int, int], generator: dict[str, Any]
    ) -> None:
        self._model, self.weights = _sam(model.source)
        predictor = Predictor(self._model)
        everything = MaskGenerator(self._model, **generator)
        self.points = generator["points_per_side"] ** 2

        def ask() -> int:
            predictor.set_image(photo)
            return len(predictor.predict([click], [1])[0])

        def find() -> int:
            return len(everything.generate(photo))

        self.steps = {CLICK: ask, EVERYTHING: find}
        self.parts = {
            ENCODER: Watch(self._model.image_encoder),
            DECODER: Watch(self._model.prompt_encoder, self._model.mask_decoder),
        }

    @property
    def module(self) -> MobileSAM:
        return self._model


def _sam(variant: str) -> tuple[MobileSAM, str]:
    """The published weights if they were downloaded before; else what can be had without."""
    published = VARIANTS[variant].published
    file = cache_folder() / PUBLISHED[published].file_name
    if file.is_file():
        return load_model(file, variant), "published"
    demo = load_model("demo")
    if variant == demo.variant:
        return demo, "demo"
    torch.manual_seed(SEED)
    made = build(variant)
    made.prompt_encoder.load_state_dict(demo.prompt_encoder.state_dict())
    made.mask_decoder.load_state_dict(demo.mask_decoder.state_dict())
    return made, "random encoder, demo decoder"


class UltralyticsSam(Contestant):
    """A SAM of Ultralytics' package, run by their predictor."""

    def __init__(
        self, model: Model, photo: Pixels, click: tuple[int, int], generator: dict[str, Any]
    ) -> None:
        from ultralytics.models.sam import build as theirs
        from ultralytics.models.sam import predict

        kind = predict.SAM2Predictor if "sam2" in model.source else predict.Predictor
        options = {"imgsz": model.image_size, "task": "segment", "mode": "predict", "save": False}
        options |= {"verbose": False, "device": "cpu", "model": model.source}
        predictor = kind(overrides=options)
        self.points = generator["points_per_side"] ** 2
        torch.manual_seed(SEED)
        if Path(model.source).is_file():
            built, self.weights = theirs.build_sam(model.source), model.source
        else:
            built, self.weights = getattr(theirs, model.architecture)(), ALONE
        two = isinstance(predictor, predict.SAM2Predictor)
        prompt, mask = ("sam_prompt_encoder", "sam_mask_decoder") if two else OWN_NAMES
        self.parts = {
            ENCODER: Watch(built.image_encoder),
            DECODER: Watch(getattr(built, prompt), getattr(built, mask)),
        }
        predictor.setup_model(model=built, verbose=False)
        self._network: nn.Module = predictor.model
        bgr = np.ascontiguousarray(photo[..., ::-1])

        def ask() -> int:
            predictor.set_image(bgr)
            found = predictor(points=[list(click)], labels=[1])
            predictor.reset_image()
            return _count(found)

        def find() -> int:
            stride = generator["points_per_side"]
            theirs = {"points_stride": stride, "conf_thres": generator["pred_iou_thresh"]}
            return _count(
                predictor(
                    source=bgr,
                    **theirs,
                    stability_score_thresh=generator["stability_score_thresh"],
                )
            )

        self.steps = {CLICK: ask, EVERYTHING: find}

    @property
    def module(self) -> nn.Module:
        return self._network


class UltralyticsYolo(Contestant):
    """A one-pass segmentation model of Ultralytics' package: all objects at once."""

    slow = frozenset()
    points = None

    def __init__(
        self, model: Model, photo: Pixels, click: tuple[int, int], generator: dict[str, Any]
    ) -> None:
        from ultralytics import YOLO, FastSAM

        if Path(model.source).is_file():
            kind = FastSAM if model.source.startswith("FastSAM") else YOLO
            network, self.weights = kind(model.source), model.source
        else:
            torch.manual_seed(SEED)
            network, self.weights = YOLO(model.architecture), ALONE
        bgr = np.ascontiguousarray(photo[..., ::-1])

        def find() -> int:
            return _count(network.predict(bgr, imgsz=model.image_size, device="cpu", verbose=False))

        self._network: nn.Module = network.model
        self.steps, self.parts = {EVERYTHING: find}, {}

    @property
    def module(self) -> nn.Module:
        return self._network


def _count(results: Any) -> int:
    """Masks of Ultralytics' results of one photo."""
    masks = results[0].masks
    return 0 if masks is None else len(masks)


FAMILIES: dict[Family, Callable[[Model, Pixels, tuple[int, int], dict[str, Any]], Contestant]] = {
    "sam": SamContestant,
    "ultralytics_sam": UltralyticsSam,
    "ultralytics_yolo": UltralyticsYolo,
}


def load(
    model: Model, photo: Pixels, click: tuple[int, int], generator: dict[str, Any]
) -> Contestant:
    """A model of the table; arguments as of :class:`SamContestant`.

    Raises:
        MobileSAMError: its weights cannot be loaded, or Ultralytics' package does not have it.
    """
    try:
        return FAMILIES[model.family](model, photo, click, generator)
    except Exception as error:
        if not model.is_ultralytics or isinstance(error, MobileSAMError):
            raise
        # theirs are of many kinds
        raise InputError(
            f"Ultralytics' package cannot load {model.title} ({reason_of(error)}): take away or "
            f"replace '{model.source}' in this folder, or choose others with --models"
            if Path(model.source).exists()
            else f"Ultralytics' package cannot build {model.title} ({reason_of(error)}): choose "
            "others with --models, or another version of it"
        ) from error


def quieten() -> None:
    """Let Ultralytics' package print nothing and download nothing; before it is imported."""
    os.environ.setdefault("YOLO_VERBOSE", "False")
    os.environ.setdefault("YOLO_OFFLINE", "True")
