"""Answers of a bundle's points decoder, held against the bundle's own decoder."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from mobilesam.cores import available_cores
from mobilesam.errors import BundleError
from mobilesam.everything.answers import NO_MASKS, Answer, Choose, Points, RunnerAnswerer
from mobilesam.everything.side_by_side import side_by_side
from mobilesam.model.fast_decoder import cells_of, in_rows
from mobilesam.runtimes.base import BundleRunner
from mobilesam.runtimes.points_onnxruntime import PointsDecoder

CLOSE = 1e-3
"""Relative L2 within which both decoders must answer. Float32 in another order stays below 1e-5; a
graph that is wrong does not."""


class PointsAnswerer(RunnerAnswerer):
    """A bundle's encoder, and its points decoder in place of its decoder.

    The first point of each photo is asked of both, so that no graph is trusted unseen.

    Args:
        runner: of the bundle, loaded.
        files: of the points decoder's graphs.
        threads: how many points are asked about at the same time; None: as many as there are cores.
    """

    def __init__(self, runner: BundleRunner, files: dict[str, Path], threads: int | None) -> None:
        super().__init__(runner)
        self._decoder = PointsDecoder(files)
        self._threads = threads or available_cores()
        self._folder = runner.bundle.path

    @property
    def engine(self) -> str:
        return f"{super().engine}, points decoder"

    def set_image(self, pixels: np.ndarray, needed: tuple[int, int]) -> None:
        super().set_image(pixels, needed)
        self._decoder.set_embedding(self._embedding, cells_of(needed))
        self._held = False

    def answers(self, points: Points, indices: Sequence[int], choose: Choose) -> Iterator[Answer]:
        coords = self._frame.coords_to_frame(points)

        def answer(index: int, choose: Choose = choose) -> Answer:
            iou, attended = self._decoder.attend(coords[index])
            iou = iou[1:]
            chosen = choose(iou)
            low_res = NO_MASKS
            if chosen:
                logits = torch.from_numpy(self._decoder.masks(attended)[chosen])
                low_res = in_rows(logits, *self._decoder.shown)
            return Answer(index, iou, chosen, low_res)

        for index in indices[:1]:
            if not self._held:
                self._hold(answer(index, _every), next(super().answers(points, [index], _every)))
                self._held = True
        yield from side_by_side(answer, indices, self._threads)

    def _hold(self, answer: Answer, own: Answer) -> None:
        """Compare an answer with the decoder's.

        Raises:
            BundleError: they differ.
        """
        found = answer.low_res.numpy()
        wanted = own.low_res.numpy()[:, : found.shape[1], : found.shape[2]]
        pairs = [(answer.iou, own.iou), (found, wanted)]
        for found, wanted in pairs:
            # Written so that NaN is not close.
            if not np.linalg.norm(found - wanted) <= CLOSE * np.linalg.norm(wanted):
                raise BundleError(
                    f"the points decoder of {self._folder} does not answer as the bundle's decoder "
                    "does: export the bundle again with --points-decoder"
                )


def _every(iou: np.ndarray) -> list[int]:
    return list(range(len(iou)))
