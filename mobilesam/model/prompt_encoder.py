"""SAM's prompt encoder (Kirillov et al. 2023, arXiv 2304.02643, appendix A)."""

import math

import torch
from torch import Tensor, nn

from mobilesam.model.layers import LayerNorm2d
from mobilesam.model.point_labels import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, PADDING_POINT


class PositionEncoding(nn.Module):
    """Random Fourier features of a position (Tancik et al. 2020, arXiv 2006.10739)."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.zeros(2, channels // 2))

    def forward(self, positions: Tensor) -> Tensor:
        """[..., 2] (x, y in 0..1) to [..., channels]."""
        phase = 2 * math.pi * ((2 * positions - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat([phase.sin(), phase.cos()], dim=-1)

    def grid(self, height: int, width: int) -> Tensor:
        """Encoding of every cell's centre, channels x height x width."""
        matrix = self.positional_encoding_gaussian_matrix
        y = (torch.arange(height, device=matrix.device, dtype=matrix.dtype) + 0.5) / height
        x = (torch.arange(width, device=matrix.device, dtype=matrix.dtype) + 0.5) / width
        rows, columns = torch.meshgrid(y, x, indexing="ij")
        return self(torch.stack([columns, rows], dim=-1)).permute(2, 0, 1)


class PromptEncoder(nn.Module):
    """Turns points, boxes and masks into sparse tokens and a dense map.

    Args:
        channels: width C of tokens and of the image embedding.
        image_size: S, side of the square frame that coordinates refer to.
        stride: pixels to one cell of the embedding grid, so that the grid is S/stride square.
        mask_channels: width inside the mask downscaling.
    """

    def __init__(
        self,
        *,
        channels: int = 256,
        image_size: int = 1024,
        stride: int = 16,
        mask_channels: int = 16,
    ) -> None:
        super().__init__()
        self.image_size = image_size
        self.grid_size = image_size // stride
        self.pe_layer = PositionEncoding(channels)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, channels) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, channels)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_channels // 4, 2, stride=2),
            LayerNorm2d(mask_channels // 4),
            nn.GELU(),
            nn.Conv2d(mask_channels // 4, mask_channels, 2, stride=2),
            LayerNorm2d(mask_channels),
            nn.GELU(),
            nn.Conv2d(mask_channels, channels, 1),
        )
        self.no_mask_embed = nn.Embedding(1, channels)

    def image_position(self) -> Tensor:
        """Positional encoding of the image embedding's grid, 1xCxS/16xS/16."""
        return self.pe_layer.grid(self.grid_size, self.grid_size).unsqueeze(0)

    def embed_points(self, coords: Tensor, labels: Tensor) -> Tensor:
        """Tokens of labelled points.

        Args:
            coords: BxNx2 float, x and y in pixels of the SxS frame; (0, 0) is the top-left corner
                of the frame and the half pixel is added here.
            labels: BxN float; 1 foreground, 0 background, 2 and 3 the corners of a box,
                -1 SAM's padding point, -2 an unused slot (its token is finite and meaningless).

        Returns:
            BxNxC tokens.
        """
        encoded = self.pe_layer((coords + 0.5) / self.image_size)
        rows = [self.not_a_point_embed, *self.point_embeddings]
        table = torch.cat([row.get_parameter("weight") for row in rows])
        known = torch.arange(PADDING_POINT, BOX_BOTTOM_RIGHT + 1, device=labels.device)
        # A hat function is exactly one at its own integer label and zero at every other one;
        # unlike an indexed assignment it converts to every format.
        one_hot = torch.relu(1 - (labels.unsqueeze(-1) - known.to(labels.dtype)).abs())
        is_padding = one_hot[..., :1]
        return encoded * (1 - is_padding) + one_hot @ table

    def embed_mask(self, mask: Tensor) -> Tensor:
        """Dense map of an earlier pass's logits, Bx1xS/4xS/4 to BxCxS/16xS/16."""
        return self.mask_downscaling(mask)

    def embed_no_mask(self) -> Tensor:
        """Dense map that says 'no mask was given', 1xCx1x1 (to be broadcast)."""
        return self.no_mask_embed.weight.reshape(1, -1, 1, 1)

    def forward(
        self,
        points: tuple[Tensor, Tensor] | None,
        boxes: Tensor | None,
        masks: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Embed one prompt for each of B masks.

        Args:
            points: coordinates BxNx2 and labels BxN in the SxS frame, or None.
            boxes: Bx4 as x1, y1, x2, y2 in the SxS frame, or None.
            masks: Bx1xS/4xS/4 logits, or None.

        Returns:
            Sparse tokens BxMxC and the dense map BxCxS/16xS/16 (or 1xCx1x1, to be broadcast, when
            no mask is given). As in SAM one padding point joins the points when there is no box.
        """
        coords, labels = [], []
        if points is not None:
            coords.append(points[0])
            labels.append(points[1].to(points[0].dtype))
            if boxes is None:
                coords.append(points[0].new_zeros(points[0].shape[0], 1, 2))
                labels.append(points[0].new_full((points[0].shape[0], 1), PADDING_POINT))
        if boxes is not None:
            coords.append(boxes.reshape(-1, 2, 2))
            corners = boxes.new_tensor([[BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]])
            labels.append(corners.expand(boxes.shape[0], 2))
        if coords:
            sparse = self.embed_points(torch.cat(coords, dim=1), torch.cat(labels, dim=1))
        else:
            table = self.not_a_point_embed.weight
            sparse = table.new_zeros(1 if masks is None else masks.shape[0], 0, table.shape[1])
        dense = self.embed_no_mask() if masks is None else self.embed_mask(masks)
        return sparse, dense
