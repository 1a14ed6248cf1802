"""MobileSAM: an image encoder behind SAM's prompt encoder and mask decoder."""

from torch import nn

from mobilesam.model.mask_decoder import MaskDecoder
from mobilesam.model.prompt_encoder import PromptEncoder
from mobilesam.model.vector_math import settle
from mobilesam.weights.checkpoints import WeightsInfo

settle()  # whoever computes with a model has imported this


class MobileSAM(nn.Module):
    """The three modules and the geometry they share.

    Args:
        image_encoder: normalised RGB 1x3xSxS to image embedding 1xCxS/strideS/stride.
        variant: name of the configuration, as in :data:`mobilesam.model.build.VARIANTS`.
        image_size: S, a multiple of ``stride``.
        channels: C.
        stride: pixels to one cell of the embedding grid.
    """

    weights: WeightsInfo | None = None
    """Where the loaded weights came from; None while nothing was loaded."""

    def __init__(
        self,
        image_encoder: nn.Module,
        *,
        variant: str,
        image_size: int = 1024,
        channels: int = 256,
        stride: int = 16,
    ) -> None:
        super().__init__()
        self.variant = variant
        self.image_size = image_size
        self.stride = stride
        self.channels = channels
        self.image_encoder = image_encoder
        self.prompt_encoder = PromptEncoder(channels=channels, image_size=image_size, stride=stride)
        self.mask_decoder = MaskDecoder(channels=channels)

    def set_image_size(self, image_size: int) -> None:
        """Use another side S from now on; no parameter depends on it."""
        self.image_size = self.prompt_encoder.image_size = image_size
        self.prompt_encoder.grid_size = image_size // self.stride

    @property
    def grid_size(self) -> int:
        """Side of the embedding grid in cells."""
        return self.image_size // self.stride

    @property
    def low_res_size(self) -> int:
        """Side of the low-res logits in pixels."""
        return 4 * self.grid_size
