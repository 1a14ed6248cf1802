"""What a model or an exported file says about points, one after the other."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mobilesam.inference.predictor import Predictor
from mobilesam.inference.prompts import Prompt
from mobilesam.inference.transforms import Frame
from mobilesam.model.fast_decoder import Attended, FastDecoder, cells_of
from mobilesam.model.point_labels import FOREGROUND
from mobilesam.model.sam import MobileSAM
from mobilesam.runtimes.base import BundleRunner, Decoded, Runner

Points = npt.NDArray[np.float64]
"""[N, 2], x and y in pixels of the photo."""


class Answer(ABC):
    """The masks for one point.

    Attributes:
        iou: predicted IoU of each alternative, [K]; K is 3, or 1 where a file chooses itself.
    """

    iou: npt.NDArray[np.float32]

    @abstractmethod
    def low_res(self, chosen: Sequence[int]) -> Tensor:
        """Low-res logits of some of the K alternatives.

        Returns:
            [len(chosen), L, L], or of the first rows and columns as many as are needed, or more.
        """


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
    def answers(self, points: Points, order: Iterable[int]) -> Iterator[tuple[int, Answer]]:
        """Index and answer of each point asked about.

        Args:
            points: of which some are asked about.
            order: indices of those; one is taken when the answer before it has been used.
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

    def answers(self, points: Points, order: Iterable[int]) -> Iterator[tuple[int, Answer]]:
        coords = self._predictor.frame.coords_to_frame(points)
        for index in order:
            with torch.inference_mode():
                answer = _PyTorchAnswer(self._decoder, self._sparse(coords[index]))
            yield index, answer

    def _sparse(self, point: npt.NDArray[np.float32]) -> Tensor:
        coords = torch.from_numpy(point).reshape(1, 1, 2).to(self._predictor.device)
        labels = torch.full_like(coords[..., 0], FOREGROUND)
        sparse: Tensor = self._predictor.model.prompt_encoder((coords, labels), None, None)[0]
        return sparse[0]


class _PyTorchAnswer(Answer):
    def __init__(self, decoder: FastDecoder, sparse: Tensor) -> None:
        self._decoder = decoder
        self._attended: Attended = decoder.attend(sparse)
        self.iou = decoder.iou_predictions(self._attended)[1:].cpu().numpy()

    def low_res(self, chosen: Sequence[int]) -> Tensor:
        with torch.inference_mode():
            return self._decoder.masks(self._attended, [1 + i for i in chosen]).cpu()


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

    def answers(self, points: Points, order: Iterable[int]) -> Iterator[tuple[int, Answer]]:
        labels = np.full(1, FOREGROUND, np.float32)
        for index in order:
            prompt = Prompt(points[index : index + 1].astype(np.float32), labels)
            decoded = self._runner.decode(self._embedding, prompt, self._frame)
            yield index, _DecodedAnswer(decoded)


class _DecodedAnswer(Answer):
    def __init__(self, decoded: Decoded) -> None:
        # Of four masks the first is not for single points; one mask is the file's own choice.
        alternatives = slice(1, None) if len(decoded.iou) > 1 else slice(None)
        self.iou = decoded.iou[alternatives]
        self._low_res = decoded.low_res[alternatives]

    def low_res(self, chosen: Sequence[int]) -> Tensor:
        return torch.from_numpy(self._low_res[list(chosen)])
