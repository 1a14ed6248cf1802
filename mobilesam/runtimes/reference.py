"""The PyTorch model itself, with only the real points: what everything else is compared to."""

import numpy as np
import torch

from mobilesam.inference.predictor import Predictor
from mobilesam.inference.prompts import Prompt
from mobilesam.inference.transforms import Frame
from mobilesam.model.sam import MobileSAM
from mobilesam.runtimes.base import Decoded, Runner


class ReferenceRunner(Runner):
    """PyTorch eager.

    Args:
        model: as :func:`mobilesam.load_model` returns it.
    """

    name = "pytorch"

    def __init__(self, model: MobileSAM) -> None:
        self.model = model

    @property
    def image_size(self) -> int:
        return self.model.image_size

    def load(self) -> None:
        self._predictor = Predictor(self.model)

    def unload(self) -> None:
        self._predictor.reset_image()

    def encode(self, image: np.ndarray) -> np.ndarray:
        self._predictor.set_image(image)
        return self._predictor.embedding.numpy()

    def decode(self, embedding: np.ndarray, prompt: Prompt, frame: Frame) -> Decoded:
        self._predictor.set_embedding(torch.from_numpy(embedding), frame)
        low_res, iou = self._predictor.decode(prompt)
        return Decoded(low_res[0].numpy(), iou[0].numpy())
