"""What a model or an exported file says about points, one after the other."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mobilesam.everything.side_by_side import side_by_side
from mobilesam.inference.predictor import Predictor
from mobilesam.inference.prompts import Prompt
from mobilesam.inference.transforms import Frame
from mobilesam.model.fast_decoder import FastDecoder, cells_of
from mobilesam.model.point_labels import FOREGROUND
from mobilesam.model.sam import MobileSAM
from mobilesam.runtimes.base import BundleRunner, Runner

Points = npt.NDArray[np.float64]
"""[N, 2], x and y in pixels of the photo."""


Choose = Callable[[npt.NDArray[np.float32]], list[int]]
"""Of predicted IoUs [K], places of those whose masks are asked for."""


class Answer(NamedTuple):
    """Masks for one point.

    Attributes:
        point: its index.
        iou: predicted IoU of each alternative, [K]; K is 3, or 1 where a file chooses itself.
        chosen: which of them are drawn.
        low_res: logits of those, [len(chosen), L, L], or of the first rows and columns as many as
            are needed, or more.
    """

    point: int
    iou: npt.NDArray[np.float32]
    chosen: list[int]
    low_res: Tensor


NO_MASKS = torch.empty(0, 0, 0)
"""Logits of no mask."""


class Answerer(ABC):
    """Answers points about one photo at a time."""

    @property
    @abstractmethod
    def image_size(self) -> int:
        """S."""

    @property
    @abstractmethod
    def engine(self) -> str:
        """What computes, in words for people."""

    @abstractmethod
    def set_image(self, pixels: np.ndarray, needed: tuple[int, int]) -> None:
        """Take up a photo.

        Args:
            pixels: HxWx3 uint8 RGB.
            needed: how many rows and columns of low-res logits are looked at, from the first on;
                the others need not be computed.
        """

    @abstractmethod
    def answers(self, points: Points, indices: Sequence[int], choose: Choose) -> Iterator[Answer]:
        """The answer of each point asked about, in the order of the indices.

        Args:
            points: of which some are asked about.
            indices: of those.
            choose: which of an answer's masks to draw.
        """


class PyTorchAnswerer(Answerer):
    """The PyTorch model, with the decoder's work rearranged (:mod:`mobilesam.model.fast_decoder`).

    Args:
        model: in eval mode.
    """

    def __init__(self, model: MobileSAM) -> None:
        self._predictor = Predictor(model)

    @property
    def image_size(self) -> int:
        return self._predictor.image_size

    @property
    def engine(self) -> str:
        return self._predictor.engine

    def set_image(self, pixels: np.ndarray, needed: tuple[int, int]) -> None:
        self._predictor.set_image(pixels)
        with torch.inference_mode():
            model, embedding = self._predictor.model, self._predictor.embedding
            self._decoder = FastDecoder(model, embedding, cells_of(needed))

    def answers(self, points: Points, indices: Sequence[int], choose: Choose) -> Iterator[Answer]:
        coords = self._predictor.frame.coords_to_frame(points)
        decoder = self._decoder

        @torch.inference_mode()
        def answer(index: int) -> Answer:
            attended = decoder.attend(self._sparse(coords[index]))
            iou = decoder.iou_predictions(attended)[1:].cpu().numpy()
            chosen = choose(iou)
            low_res = NO_MASKS
            if chosen:
                low_res = decoder.masks(attended, [1 + i for i in chosen]).cpu()
            return Answer(index, iou, chosen, low_res)

        on_cpu = self._predictor.device.type == "cpu"
        yield from side_by_side(answer, indices, torch.get_num_threads() if on_cpu else 1)

    def _sparse(self, point: npt.NDArray[np.float32]) -> Tensor:
        coords = torch.from_numpy(point).reshape(1, 1, 2).to(self._predictor.device)
        labels = torch.full_like(coords[..., 0], FOREGROUND)
        sparse: Tensor = self._predictor.model.prompt_encoder((coords, labels), None, None)[0]
        return sparse[0]


class RunnerAnswerer(Answerer):
    """Any runner: its decoder as it is, asked about one point at a time.

    Args:
        runner: loaded.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    @property
    def image_size(self) -> int:
        return self._runner.image_size

    @property
    def engine(self) -> str:
        runner = self._runner
        if isinstance(runner, BundleRunner):
            return f"{runner.bundle.name} on {runner.engine}"
        return runner.name

    def set_image(self, pixels: np.ndarray, needed: tuple[int, int]) -> None:
        height, width = pixels.shape[:2]
        self._frame = Frame((height, width), self.image_size)
        self._embedding = self._runner.encode(pixels)

    def answers(self, points: Points, indices: Sequence[int], choose: Choose) -> Iterator[Answer]:
        labels = np.full(1, FOREGROUND, np.float32)
        for index in indices:
            prompt = Prompt(points[index : index + 1].astype(np.float32), labels)
            decoded = self._runner.decode(self._embedding, prompt, self._frame)
            # Of four masks the first is not for single points; one mask is the file's own choice.
            alternatives = slice(1, None) if len(decoded.iou) > 1 else slice(None)
            iou = decoded.iou[alternatives]
            chosen = choose(iou)
            low_res = torch.from_numpy(decoded.low_res[alternatives][chosen])
            yield Answer(index, iou, chosen, low_res)
