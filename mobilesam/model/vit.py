"""SAM's own image encoder: a plain vision transformer, as ViTDet uses one for detection.

Kirillov et al. 2023, arXiv 2304.02643; Li et al. 2022, arXiv 2203.16527. Patches of 16 pixels, an
absolute position embedding, attention within windows of 14 x 14 patches and in four blocks among
all of them, positions relative to each other in every block (Li et al. 2022, arXiv 2112.01526), and
the two-convolution neck that MobileSAM took over. Module names follow the keys of Meta's
checkpoints. No tensor has more than four dimensions: several mobile GPU delegates reject rank 5 and
above.

**Image sizes.** The tables of positions are those of the size that the model was trained at, whose
grid is ``config.grid_size`` = 64 patches wide (1024 pixels), whatever size it is used at. For
another one the position embedding is interpolated (bicubic, as ViTDet does) and so are the relative
positions of blocks that attend everywhere (linear, as SAM's own encoder does); windows stay as they
are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mobilesam.model.layers import LayerNorm2d, WithTables, from_windows, into_windows

EPS = 1e-6
"""Added to the variance in layer norms, ten times less than PyTorch's default."""


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """Shape of a ViT. ``global_blocks`` are the indices of those that attend everywhere."""

    channels: int
    depth: int
    num_heads: int
    global_blocks: Sequence[int]
    grid_size: int = 64
    patch: int = 16
    window: int = 14
    mlp_ratio: float = 4.0
    out_channels: int = 256


VIT_B = ViTConfig(channels=768, depth=12, num_heads=12, global_blocks=(2, 5, 8, 11))
VIT_L = ViTConfig(channels=1024, depth=24, num_heads=16, global_blocks=(5, 11, 17, 23))
VIT_H = ViTConfig(channels=1280, depth=32, num_heads=16, global_blocks=(7, 15, 23, 31))


class PatchEmbed(nn.Module):
    """One convolution as wide as its stride: Bx3xSxS to BxGxGxC, G = S / patch."""

    def __init__(self, channels: int, *, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).permute(0, 2, 3, 1)


class ViTAttention(WithTables):
    """Self-attention among the N = height * width tokens of each map, MxNxC to MxNxC.

    To the score of two tokens is added what the query makes of their distance in rows and, for
    itself, in columns: its product with an entry of ``rel_pos_h`` and one of ``rel_pos_w``. Those
    have an entry for each distance, from -(side - 1) to side - 1, as wide as a head.

    Args:
        channels: C.
        num_heads: attention heads, which divide C.
        window: side of the maps; 0 where they are the whole grid.
        grid_size: side of the whole grid that the tables are made for.
    """

    TABLES = {"rel_pos_h": "qkv", "rel_pos_w": "qkv"}

    def __init__(self, channels: int, *, num_heads: int, window: int, grid_size: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window = window
        width = channels // num_heads
        self.scale = width**-0.5
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        entries = 2 * (window or grid_size) - 1
        self.rel_pos_h = nn.Parameter(torch.zeros(entries, width))
        self.rel_pos_w = nn.Parameter(torch.zeros(entries, width))

    def laid_out(self, name: str, side: int) -> Tensor:
        """The entries for each pair of places on one axis, places x width x places.

        ``[i, :, j]`` is what a query at place i is multiplied with for a key at place j.
        """
        table: Tensor = self.get_parameter(name)
        side = self.window or side
        if len(table) != 2 * side - 1:
            table = F.interpolate(table.t().unsqueeze(0), size=2 * side - 1, mode="linear")[0].t()
        place = torch.arange(side, device=table.device)
        return table[place[:, None] - place[None, :] + side - 1].transpose(1, 2)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        maps, tokens, channels = x.shape
        query, key, value = (self._heads(part) for part in self.qkv(x).split(channels, dim=2))
        scores = torch.bmm(query * self.scale, key.transpose(1, 2))
        heads = len(scores)
        scores = scores.reshape(heads, tokens, height, width)
        scores = scores + self._by_rows(query, height, width).unsqueeze(3)
        scores = scores + self._by_columns(query, height, width).unsqueeze(2)
        weights = scores.reshape(heads, tokens, tokens).softmax(dim=-1)
        mixed = torch.bmm(weights, value).reshape(maps, self.num_heads, tokens, -1).transpose(1, 2)
        return self.proj(mixed.reshape(maps, tokens, channels))

    def _heads(self, x: Tensor) -> Tensor:
        """MxNxC to [M * heads]xNx[C / heads]."""
        maps, tokens, channels = x.shape
        x = x.reshape(maps, tokens, self.num_heads, -1).transpose(1, 2)
        return x.reshape(maps * self.num_heads, tokens, channels // self.num_heads)

    def _by_rows(self, query: Tensor, height: int, width: int) -> Tensor:
        """What distances in rows add, [M * heads]xNxheight."""
        count, tokens, channels = query.shape
        # The place comes first: one product for each, of all queries there with its own matrix.
        placed = query.reshape(count, height, width, channels).transpose(0, 1)
        placed = placed.reshape(height, count * width, channels)
        added = torch.bmm(placed, self.table("rel_pos_h", height))
        added = added.reshape(height, count, width, height).transpose(0, 1)
        return added.reshape(count, tokens, height)

    def _by_columns(self, query: Tensor, height: int, width: int) -> Tensor:
        """What distances in columns add, [M * heads]xNxwidth."""
        count, tokens, channels = query.shape
        placed = query.reshape(count * height, width, channels).transpose(0, 1)
        added = torch.bmm(placed, self.table("rel_pos_w", width))
        return added.transpose(0, 1).reshape(count, tokens, width)


class ViTMLP(nn.Module):
    """Two linear layers with GELU between them, on the last dimension."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(channels, hidden)
        self.lin2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.lin2(F.gelu(self.lin1(x)))


class ViTBlock(nn.Module):
    """Attention and an MLP, each after a layer norm and beside what it is given; keeps BxHxWxC."""

    def __init__(
        self, channels: int, *, num_heads: int, window: int, grid_size: int, mlp_ratio: float
    ) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(channels, eps=EPS)
        self.attn = ViTAttention(channels, num_heads=num_heads, window=window, grid_size=grid_size)
        self.norm2 = nn.LayerNorm(channels, eps=EPS)
        self.mlp = ViTMLP(channels, int(channels * mlp_ratio))

    def attend(self, x: Tensor) -> Tensor:
        """Attention. The zero padding of the last windows takes part, as trained."""
        batch, height, width, channels = x.shape
        if not self.window:
            x = self.attn(x.reshape(batch, height * width, channels), height, width)
            return x.reshape(batch, height, width, channels)
        windows = self.attn(into_windows(x, self.window), self.window, self.window)
        return from_windows(windows, self.window, height, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(WithTables):
    """Image encoder: normalised RGB Bx3xSxS (float) to the image embedding Bx256xS/16xS/16.

    S may be any multiple of ``config.patch``; see above for what becomes of the tables.
    """

    TABLES = {"pos_embed": "patch_embed"}

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        channels, grid, out = config.channels, config.grid_size, config.out_channels
        self.patch_embed = PatchEmbed(channels, patch=config.patch)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, channels))
        self.blocks = nn.ModuleList(
            ViTBlock(
                channels,
                num_heads=config.num_heads,
                window=0 if number in config.global_blocks else config.window,
                grid_size=grid,
                mlp_ratio=config.mlp_ratio,
            )
            for number in range(config.depth)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(channels, out, 1, bias=False),
            LayerNorm2d(out),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            LayerNorm2d(out),
        )

    def laid_out(self, name: str, side: int) -> Tensor:
        """The position embedding of a grid, 1 x side x side x channels."""
        if side == self.pos_embed.shape[1]:
            return self.pos_embed
        planes = self.pos_embed.permute(0, 3, 1, 2)
        planes = F.interpolate(planes, size=(side, side), mode="bicubic", align_corners=False)
        return planes.permute(0, 2, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        x = x + self.table("pos_embed", x.shape[1])
        for block in self.blocks:
            x = block(x)
        return self.neck(x.permute(0, 3, 1, 2))
