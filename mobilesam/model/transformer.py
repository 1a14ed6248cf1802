"""SAM's two-way transformer: tokens and image attend to each other (arXiv 2304.02643)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Weigh = Callable[[Tensor, Tensor], Tensor]
"""Weights BxheadsxMxN and values BxheadsxNxC to their weighted sums BxheadsxMxC."""


class Attention(nn.Module):
    """Multi-head attention with projections that may narrow the width inside.

    Args:
        channels: width of queries, keys, values and of the output.
        num_heads: heads.
        downsample_rate: the width inside is channels / downsample_rate.
    """

    def __init__(self, channels: int, *, num_heads: int, downsample_rate: int = 1) -> None:
        super().__init__()
        inner = channels // downsample_rate
        self.num_heads = num_heads
        self.scale = (inner // num_heads) ** -0.5
        self.weigh: Weigh = torch.matmul
        self.q_proj = nn.Linear(channels, inner)
        self.k_proj = nn.Linear(channels, inner)
        self.v_proj = nn.Linear(channels, inner)
        self.out_proj = nn.Linear(inner, channels)

    def split_heads(self, x: Tensor) -> Tensor:
        """BxNxC to BxheadsxNxC/heads."""
        batch, tokens, width = x.shape
        return x.reshape(batch, tokens, self.num_heads, width // self.num_heads).transpose(1, 2)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_bias: Tensor | None = None
    ) -> Tensor:
        """Attend.

        Args:
            query: BxMxC. key, value: BxNxC.
            key_bias: Bx1x1xN, added to the scores of each key; hides keys when very negative.

        Returns:
            BxMxC.
        """
        q = self.split_heads(self.q_proj(query))
        k = self.split_heads(self.k_proj(key))
        v = self.split_heads(self.v_proj(value))
        scores = q @ k.transpose(2, 3) * self.scale
        if key_bias is not None:
            scores = scores + key_bias
        mixed = self.weigh(scores.softmax(dim=-1), v).transpose(1, 2)
        return self.out_proj(mixed.reshape(mixed.shape[0], mixed.shape[1], -1))


class TokenMLP(nn.Module):
    """Two linear layers with ReLU between them, on the last dimension."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(channels, hidden)
        self.lin2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.lin2(torch.relu(self.lin1(x)))


class TwoWayBlock(nn.Module):
    """Token self-attention, tokens to image, token MLP, image to tokens; post-norm.

    Args:
        first: in the first block the tokens' self-attention replaces them and adds no position,
            since the tokens are then still the positions themselves.
    """

    def __init__(
        self, channels: int, *, num_heads: int, mlp_width: int, downsample_rate: int, first: bool
    ) -> None:
        super().__init__()
        self.first = first
        self.self_attn = Attention(channels, num_heads=num_heads)
        self.norm1 = nn.LayerNorm(channels)
        self.cross_attn_token_to_image = Attention(
            channels, num_heads=num_heads, downsample_rate=downsample_rate
        )
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = TokenMLP(channels, mlp_width)
        self.norm3 = nn.LayerNorm(channels)
        self.norm4 = nn.LayerNorm(channels)
        self.cross_attn_image_to_token = Attention(
            channels, num_heads=num_heads, downsample_rate=downsample_rate
        )

    def forward(
        self,
        tokens: Tensor,
        image: Tensor,
        token_position: Tensor,
        image_position: Tensor,
        token_bias: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Tokens BxMxC and image BxNxC, with their positions, to the same shapes."""
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens, token_bias)
        else:
            placed = tokens + token_position
            tokens = tokens + self.self_attn(placed, placed, tokens, token_bias)
        tokens = self.norm1(tokens)

        placed_image = image + image_position
        seen = self.cross_attn_token_to_image(tokens + token_position, placed_image, image)
        tokens = self.norm2(tokens + seen)
        tokens = self.norm3(tokens + self.mlp(tokens))

        placed = tokens + token_position
        told = self.cross_attn_image_to_token(placed_image, placed, tokens, token_bias)
        return tokens, self.norm4(image + told)


class TwoWayTransformer(nn.Module):
    """Blocks of two-way attention and a last look of the tokens at the image.

    Attributes:
        read: how many of the first tokens are returned; None: all.
    """

    read: int | None = None

    def __init__(
        self,
        *,
        depth: int = 2,
        channels: int = 256,
        num_heads: int = 8,
        mlp_width: int = 2048,
        downsample_rate: int = 2,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayBlock(
                channels,
                num_heads=num_heads,
                mlp_width=mlp_width,
                downsample_rate=downsample_rate,
                first=index == 0,
            )
            for index in range(depth)
        )
        self.final_attn_token_to_image = Attention(
            channels, num_heads=num_heads, downsample_rate=downsample_rate
        )
        self.norm_final_attn = nn.LayerNorm(channels)

    def forward(
        self,
        image: Tensor,
        image_position: Tensor,
        tokens: Tensor,
        token_bias: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run both ways.

        Args:
            image: BxCxHxW. image_position: 1xCxHxW or BxCxHxW.
            tokens: BxMxC, also their own positions.
            token_bias: Bx1x1xM, added wherever tokens are attended to; hides unused tokens.

        Returns:
            Tokens BxMxC, or the first of them (:attr:`read`), and image BxHWxC.
        """
        image = image.flatten(2).transpose(1, 2)
        image_position = image_position.flatten(2).transpose(1, 2)
        token_position = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, token_position, image_position, token_bias)
        if self.read is not None:
            tokens, token_position = tokens[:, : self.read], token_position[:, : self.read]
        seen = self.final_attn_token_to_image(
            tokens + token_position, image + image_position, image
        )
        return self.norm_final_attn(tokens + seen), image
