"""TinyViT image encoder (Wu et al. 2022, arXiv 2207.10666) as MobileSAM uses it (arXiv 2306.14289).

One convolutional stage, then three stages of window attention with learned relative position
biases; total stride 16; a two-convolution neck gives SAM's image embedding. Module names follow
the keys of the official checkpoint. No tensor has more than four dimensions: several mobile GPU
delegates reject rank 5 and above.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mobilesam.model.layers import ConvNorm, LayerNorm2d, WithTables, from_windows, into_windows


@dataclass(frozen=True, kw_only=True)
class TinyViTConfig:
    """Shape of a TinyViT; the lists have one entry a stage, the first stage being convolutional."""

    embed_dims: Sequence[int] = (64, 128, 160, 320)
    depths: Sequence[int] = (2, 2, 6, 2)
    num_heads: Sequence[int] = (2, 4, 5, 10)
    window_sizes: Sequence[int] = (7, 7, 14, 7)
    downsample_strides: Sequence[int] = (2, 2, 1)
    mlp_ratio: float = 4.0
    mbconv_expand_ratio: float = 4.0
    local_conv_size: int = 3
    out_channels: int = 256

    @property
    def stride(self) -> int:
        """Pixels of the input to one cell of the embedding grid."""
        total = 4
        for stride in self.downsample_strides:
            total *= stride
        return total


class PatchEmbed(nn.Module):
    """Two strided convolutions: Bx3xSxS to BxCxS/4xS/4."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(
            ConvNorm(3, channels // 2, kernel=3, stride=2),
            nn.GELU(),
            ConvNorm(channels // 2, channels, kernel=3, stride=2),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.seq(x)


class MBConv(nn.Module):
    """Inverted bottleneck with a residual connection; keeps BxCxHxW."""

    def __init__(self, channels: int, *, expand_ratio: float) -> None:
        super().__init__()
        hidden = int(channels * expand_ratio)
        self.conv1 = ConvNorm(channels, hidden)
        self.conv2 = ConvNorm(hidden, hidden, kernel=3, groups=hidden)
        self.conv3 = ConvNorm(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.gelu(self.conv2(F.gelu(self.conv1(x))))
        return F.gelu(x + self.conv3(inner))


class PatchMerging(nn.Module):
    """Changes width and resolution between stages: BxCxHxW to BxC'xH/stridexW/stride."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(in_channels, out_channels)
        self.conv2 = ConvNorm(
            out_channels, out_channels, kernel=3, stride=stride, groups=out_channels
        )
        self.conv3 = ConvNorm(out_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))


class ConvStage(nn.Module):
    """MBConv blocks, then the downsampling. BxCxHxW to BxC'xH'xW'."""

    def __init__(
        self, channels: int, out_channels: int, *, depth: int, stride: int, expand_ratio: float
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            MBConv(channels, expand_ratio=expand_ratio) for _ in range(depth)
        )
        self.downsample = PatchMerging(channels, out_channels, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.downsample(x)


class WindowAttention(WithTables):
    """Self-attention among the N = window² tokens of each window, WxNxC to WxNxC.

    A learned bias per head depends on |dy|, |dx| between two tokens; ``attention_biases`` has one
    entry for each of the N possible distances, in row-major order of (|dy|, |dx|).
    """

    TABLES = {"attention_biases": "qkv"}

    def __init__(self, channels: int, *, num_heads: int, window: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window = window
        self.scale = (channels // num_heads) ** -0.5
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.attention_biases = nn.Parameter(torch.zeros(num_heads, window * window))

    def laid_out(self, name: str, side: int) -> Tensor:
        """The biases laid out for the softmax, heads x N x N, for a grid of any size."""
        position = torch.arange(self.window, device=self.attention_biases.device)
        distance = (position[:, None] - position[None, :]).abs()
        rows = distance.repeat_interleave(self.window, 0).repeat_interleave(self.window, 1)
        columns = distance.repeat(self.window, self.window)
        return self.attention_biases[:, rows * self.window + columns]

    def forward(self, x: Tensor) -> Tensor:
        windows, tokens, channels = x.shape
        heads, width = self.num_heads, channels // self.num_heads
        qkv = self.qkv(self.norm(x)).view(windows, tokens, heads, 3 * width).transpose(1, 2)
        query, key, value = qkv.split(width, dim=3)
        bias = self.table("attention_biases", self.window)
        scores = query @ key.transpose(2, 3) * self.scale + bias
        mixed = scores.softmax(dim=-1) @ value
        return self.proj(mixed.transpose(1, 2).reshape(windows, tokens, channels))


class PreNormMLP(nn.Module):
    """Layer norm, then two linear layers with GELU between them, on the last dimension."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(self.norm(x))))


class TinyViTBlock(nn.Module):
    """Window attention, a local depthwise convolution and an MLP; keeps BxHxWxC."""

    def __init__(
        self, channels: int, *, num_heads: int, window: int, mlp_ratio: float, local_conv: int
    ) -> None:
        super().__init__()
        self.window = window
        self.attn = WindowAttention(channels, num_heads=num_heads, window=window)
        self.local_conv = ConvNorm(channels, channels, kernel=local_conv, groups=channels)
        self.mlp = PreNormMLP(channels, int(channels * mlp_ratio))

    def attend(self, x: Tensor) -> Tensor:
        """Attention within windows. The zero padding of the last windows takes part, as trained."""
        _, height, width, _ = x.shape
        windows = self.attn(into_windows(x, self.window))
        return from_windows(windows, self.window, height, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(x)
        x = self.local_conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x + self.mlp(x)


class AttentionStage(nn.Module):
    """TinyViT blocks, then the downsampling where there is one. BxCxHxW to BxC'xH'xW'."""

    def __init__(
        self,
        channels: int,
        *,
        depth: int,
        num_heads: int,
        window: int,
        mlp_ratio: float,
        local_conv: int,
        downsample: PatchMerging | None,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            TinyViTBlock(
                channels,
                num_heads=num_heads,
                window=window,
                mlp_ratio=mlp_ratio,
                local_conv=local_conv,
            )
            for _ in range(depth)
        )
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        for block in self.blocks:
            x = block(x)
        x = x.permute(0, 3, 1, 2)
        return x if self.downsample is None else self.downsample(x)


class TinyViT(nn.Module):
    """Image encoder: normalised RGB Bx3xSxS (float) to the image embedding BxCxS/16xS/16.

    S may be any multiple of ``config.stride``; the parameters do not depend on it.
    """

    def __init__(self, config: TinyViTConfig) -> None:
        super().__init__()
        self.config = config
        dims = config.embed_dims
        self.patch_embed = PatchEmbed(dims[0])
        self.layers = nn.ModuleList()
        self.layers.append(
            ConvStage(
                dims[0],
                dims[1],
                depth=config.depths[0],
                stride=config.downsample_strides[0],
                expand_ratio=config.mbconv_expand_ratio,
            )
        )
        for stage in range(1, len(dims)):
            last = stage == len(dims) - 1
            self.layers.append(
                AttentionStage(
                    dims[stage],
                    depth=config.depths[stage],
                    num_heads=config.num_heads[stage],
                    window=config.window_sizes[stage],
                    mlp_ratio=config.mlp_ratio,
                    local_conv=config.local_conv_size,
                    downsample=None
                    if last
                    else PatchMerging(
                        dims[stage], dims[stage + 1], stride=config.downsample_strides[stage]
                    ),
                )
            )
        out = config.out_channels
        self.neck = nn.Sequential(
            nn.Conv2d(dims[-1], out, 1, bias=False),
            LayerNorm2d(out),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            LayerNorm2d(out),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        for layer in self.layers:
            x = layer(x)
        return self.neck(x)
