"""A bundle that draws masks: the exported files behind the methods of the PyTorch predictor."""

from typing import TYPE_CHECKING

import numpy as np

from mobilesam.bundle.manifest import BundleFolder
from mobilesam.errors import InputError
from mobilesam.inference.image_predictor import ImagePredictor
from mobilesam.inference.prompts import Prompt
from mobilesam.inference.transforms import Frame
from mobilesam.runtimes import open_runner
from mobilesam.runtimes.base import Decoded
from mobilesam.runtimes.checked import CheckedRunner
from mobilesam.runtimes.table import files_of

if TYPE_CHECKING:
    from torch import Tensor


class Bundle(BundleFolder):
    """An exported bundle: its folder, its manifest, and predictors that run its files.

    Args:
        path: the folder that holds ``manifest.json``.

    Raises:
        BundleError: no manifest, a malformed one, or one of a newer contract.
    """

    def predictor(
        self, runtime: str | None = None, threads: int | None = None
    ) -> "BundlePredictor":
        """A predictor that runs this bundle's files, verified against the manifest and loaded.

        Args:
            runtime: one of ``runtimes``; None takes the first.
            threads: threads the runtime may use; None leaves its default.

        Raises:
            BundleError: a file is missing, altered or cannot be loaded, or there is none for the
                runtime.
            InputError: unknown runtime.
            MissingDependencyError: the runtime's library is not installed; the message names the
                extra to install.
        """
        return BundlePredictor(self, runtime, threads)


class BundlePredictor(ImagePredictor):
    """Masks of one image from prompts, computed by a bundle's exported files.

    The methods and results are those of :class:`mobilesam.Predictor`. ``close``, or the end of a
    ``with`` block, frees the files.

    Args:
        bundle, runtime, threads: as of :meth:`Bundle.predictor`, which also states the errors.
    """

    def __init__(
        self, bundle: BundleFolder, runtime: str | None = None, threads: int | None = None
    ) -> None:
        manifest = bundle.manifest
        super().__init__(
            image_size=manifest.image_size,
            stride=manifest.stride,
            channels=manifest.channels,
            weights_sha256=manifest.weights.sha256,
        )
        self.bundle = bundle
        runner = open_runner(bundle, runtime or bundle.runtimes[0], threads=threads)
        bundle.verify()
        runner.load()
        self._runner = runner
        self._open = True

    @property
    def engine(self) -> str:
        """The bundle and what runs it, such as 'tflite-fp16 on LiteRT 2.3.0 (XNNPACK)'."""
        return f"{self.bundle.name} on {self._runner.engine}"

    @property
    def runner(self) -> CheckedRunner:
        """What runs the files, for whoever feeds it himself.

        Raises:
            InputError: the predictor was closed.
        """
        self._require_open()
        return self._runner

    @property
    def size_bytes(self) -> int:
        """Bytes on disk of the files that are run."""
        return self.bundle.size_bytes(files_of(self._runner.name))

    def close(self) -> None:
        """Forget the image and free the files."""
        super().close()
        self._runner.unload()
        self._open = False

    def _encode(self, pixels: np.ndarray) -> np.ndarray:
        self._require_open()
        return self._runner.encode(pixels)

    def _decode(
        self,
        points: "tuple[Tensor, Tensor] | None",
        boxes: "Tensor | None",
        masks: "Tensor | None",
    ) -> "tuple[Tensor, Tensor]":
        import torch

        self._require_open()
        given = [t for t in (*(points or ()), boxes, masks) if t is not None]
        # Prompts come in pixels of the model's frame: it is taken for the photo, nothing is scaled.
        frame = Frame((self.image_size, self.image_size), self.image_size)
        embedding = np.asarray(self._embedding)
        answers: list[Decoded] = []
        for one in range(len(given[0])):  # an exported decoder answers one prompt at a time
            prompt = Prompt(
                np.zeros((0, 2), np.float32) if points is None else points[0][one].numpy(),
                np.zeros(0, np.float32) if points is None else points[1][one].numpy(),
                None if boxes is None else boxes[one].numpy(),
                None if masks is None else masks[one, 0].numpy(),
            )
            answers.append(self._runner.decode(embedding, prompt, frame))
        low_res = torch.from_numpy(np.stack([answer.low_res for answer in answers]))
        iou = torch.from_numpy(np.stack([answer.iou for answer in answers]))
        # A file that chooses gives one mask, which then stands for each of the four.
        return low_res.expand(-1, 4, -1, -1), iou.expand(-1, 4)

    def _require_open(self) -> None:
        if not self._open:
            raise InputError("this predictor was closed: get another with Bundle.predictor()")
