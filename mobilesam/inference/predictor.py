"""Ask the PyTorch model about one image, as often as you like."""

import numpy as np
import torch
from torch import Tensor

from mobilesam.inference.image_predictor import ImagePredictor
from mobilesam.inference.prompts import Prompt
from mobilesam.inference.transforms import normalized_input
from mobilesam.model.sam import MobileSAM


class Predictor(ImagePredictor):
    """Masks of one image from prompts, computed by the PyTorch model.

    Args:
        model: as :func:`mobilesam.load_model` returns it.
    """

    def __init__(self, model: MobileSAM) -> None:
        super().__init__(
            image_size=model.image_size,
            stride=model.stride,
            channels=model.channels,
            weights_sha256=model.weights.sha256 if model.weights else "",
        )
        self.model = model

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return next(self.model.parameters()).device

    @torch.inference_mode()
    def _encode(self, pixels: np.ndarray) -> Tensor:
        batch = self._tensor(normalized_input(pixels, self.image_size))
        embedding: Tensor = self.model.image_encoder(batch)
        return embedding

    @torch.inference_mode()
    def _decode(
        self,
        points: tuple[Tensor, Tensor] | None,
        boxes: Tensor | None,
        masks: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        encoder = self.model.prompt_encoder
        sparse, dense = encoder(points, boxes, masks)
        return self.model.mask_decoder(self.embedding, encoder.image_position(), sparse, dense)


def choose_mask(prompt: Prompt, iou_predictions: np.ndarray) -> int:
    """Index of the mask to show, as SAM chooses it.

    Args:
        prompt: what was asked.
        iou_predictions: [4].

    Returns:
        The best of masks 1 to 3 for an ambiguous prompt (a single point), else 0.
    """
    return 1 + int(np.argmax(iou_predictions[1:])) if prompt.is_ambiguous else 0
