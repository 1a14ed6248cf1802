"""SAM's mask decoder with its IoU prediction head (arXiv 2304.02643, appendix A)."""

from typing import cast

import torch
from torch import Tensor, nn

from mobilesam.model.layers import MLP, LayerNorm2d
from mobilesam.model.transformer import TwoWayTransformer


class MaskDecoder(nn.Module):
    """Predicts four masks and their quality from an image embedding and prompt tokens.

    Mask 0 is the answer to an unambiguous prompt; masks 1 to 3 are the alternatives offered for an
    ambiguous one.

    Args:
        channels: width C of tokens and image embedding.
        num_masks: masks returned, the single-mask output included.
    """

    def __init__(self, *, channels: int = 256, num_masks: int = 4) -> None:
        super().__init__()
        self.num_masks = num_masks
        self.transformer = TwoWayTransformer(channels=channels)
        self.iou_token = nn.Embedding(1, channels)
        self.mask_tokens = nn.Embedding(num_masks, channels)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(channels, channels // 4, 2, stride=2),
            LayerNorm2d(channels // 4),
            nn.GELU(),
            nn.ConvTranspose2d(channels // 4, channels // 8, 2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(channels, channels, channels, channels // 8) for _ in range(num_masks)
        )
        self.iou_prediction_head = MLP(channels, channels, channels, num_masks)

    def forward(
        self,
        image_embeddings: Tensor,
        image_position: Tensor,
        sparse: Tensor,
        dense: Tensor,
        sparse_bias: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Decode.

        Args:
            image_embeddings: 1xCxHxW (shared by all prompts) or BxCxHxW.
            image_position: 1xCxHxW.
            sparse: BxMxC prompt tokens.
            dense: BxCxHxW, or anything that broadcasts to it.
            sparse_bias: BxM, added to attention scores wherever a prompt token is a key.

        Returns:
            Low-res logits Bx4x4Hx4W and IoU predictions Bx4.
        """
        batch = sparse.shape[0]
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([own.unsqueeze(0).expand(batch, -1, -1), sparse], dim=1)
        token_bias = None
        if sparse_bias is not None:
            visible = sparse_bias.new_zeros(batch, own.shape[0])
            token_bias = torch.cat([visible, sparse_bias], dim=1).reshape(batch, 1, 1, -1)
        image = image_embeddings + dense
        height, width = image.shape[2:]
        image = image.expand(batch, -1, -1, -1)

        tokens, image = self.transformer(image, image_position, tokens, token_bias)

        pixels = self.upscaled(image, height, width)
        weights = torch.stack(
            [mlp(tokens[:, 1 + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], dim=1
        )
        masks = self.masks(pixels, weights, height, width)
        return masks, self.iou_prediction_head(tokens[:, 0])

    def upscaled(self, image: Tensor, height: int, width: int) -> Tensor:
        """Cells BxHWxC to pixels BxC/8x16HW."""
        image = image.transpose(1, 2).reshape(image.shape[0], -1, height, width)
        return cast(Tensor, self.output_upscaling(image)).flatten(2)

    def masks(self, pixels: Tensor, weights: Tensor, height: int, width: int) -> Tensor:
        """Pixels and a row of weights for each mask, BxmasksxC/8, to Bxmasksx4Hx4W."""
        products = weights @ pixels
        return products.reshape(pixels.shape[0], self.num_masks, 4 * height, 4 * width)
