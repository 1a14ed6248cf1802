"""Answers of a bundle's points decoder, held against the bundle's own decoder."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mobilesam.errors import BundleError
from mobilesam.everything.answers import Answer, Points, RunnerAnswerer
from mobilesam.model.fast_decoder import cells_of, in_rows
from mobilesam.runtimes.base import BundleRunner
from mobilesam.runtimes.points_onnxruntime import PointsDecoder, Values

CLOSE = 1e-3
"""Relative L2 within which both decoders must answer. Float32 in another order stays below 1e-5; a
graph that is wrong does not."""


class PointsAnswerer(RunnerAnswerer):
    """A bundle's encoder, and its points decoder in place of its decoder.

    The first point of each photo is asked of both, so that no graph is trusted unseen.

    Args:
        runner: of the bundle, loaded.
        files: of the points decoder's graphs.
        threads: that the runtime may use; None leaves its default.
    """

    def __init__(self, runner: BundleRunner, files: dict[str, Path], threads: int | None) -> None:
        super().__init__(runner)
        self._decoder = PointsDecoder(files, threads)
        self._folder = runner.bundle.path

    @property
    def engine(self) -> str:
        return f"{super().engine}, points decoder"

    def set_image(self, pixels: np.ndarray, needed: tuple[int, int]) -> None:
        super().set_image(pixels, needed)
        self._decoder.set_embedding(self._embedding, cells_of(needed))

    def answers(self, points: Points, order: Iterable[int]) -> Iterator[tuple[int, Answer]]:
        coords = self._frame.coords_to_frame(points)
        held = False
        for index in order:
            answer = _PointsAnswer(self._decoder, *self._decoder.attend(coords[index]))
            if not held:
                self._hold(points, index, answer)
                held = True
            yield index, answer

    def _hold(self, points: Points, index: int, answer: Answer) -> None:
        """Compare an answer with the decoder's.

        Raises:
            BundleError: they differ.
        """
        _, own = next(super().answers(points, [index]))
        every = range(len(own.iou))
        found = answer.low_res(every).numpy()
        wanted = own.low_res(every).numpy()[:, : found.shape[1], : found.shape[2]]
        pairs = [(answer.iou, own.iou), (found, wanted)]
        for found, wanted in pairs:
            # Written so that NaN is not close.
            if not np.linalg.norm(found - wanted) <= CLOSE * np.linalg.norm(wanted):
                raise BundleError(
                    f"the points decoder of {self._folder} does not answer as the bundle's decoder "
                    "does: export the bundle again with --points-decoder"
                )


class _PointsAnswer(Answer):
    def __init__(
        self, decoder: PointsDecoder, iou: npt.NDArray[np.float32], attended: Values
    ) -> None:
        self._decoder = decoder
        self._attended = attended
        self.iou = iou[1:]

    def low_res(self, chosen: Sequence[int]) -> Tensor:
        logits = self._decoder.masks(self._attended)[list(chosen)]
        return in_rows(torch.from_numpy(logits), *self._decoder.shown)
