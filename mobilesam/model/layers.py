"""What several modules of the model are made of."""

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of a BxCxHxW tensor, one mean and variance a pixel.

    Args:
        channels: C.
        eps: added to the variance.
    """

    def __init__(self, channels: int, *, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW to BxCxHxW."""
        centred = x - x.mean(dim=1, keepdim=True)
        variance = centred.square().mean(dim=1, keepdim=True)
        scale = self.weight[:, None, None]
        return centred / torch.sqrt(variance + self.eps) * scale + self.bias[:, None, None]


class MLP(nn.Module):
    """Linear layers with ReLU between them; the last one is linear.

    Args:
        widths: input width, every hidden width, output width.
    """

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Linear(before, after) for before, after in zip(widths, widths[1:], strict=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[..., widths[0]] to [..., widths[-1]]."""
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return self.layers[-1](x)


class ConvNorm(nn.Module):
    """Convolution without bias, then batch norm. BxC_inxHxW to BxC_outxH'xW'."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.c = nn.Conv2d(
            in_channels,
            out_channels,
            kernel,
            stride=stride,
            padding=kernel // 2,
            groups=groups,
            bias=False,
        )
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.c(x))


class WithTables(nn.Module):
    """A module with learned tables of positions, which are laid out for a grid before use.

    A table is a parameter. Laid out it is larger, and the same for every image: :func:`bake` fixes
    it as a constant for export, in the buffer ``baked_<name of the table>``.

    Attributes:
        TABLES: name of each table, and of the child module after which it is first used.
    """

    TABLES: ClassVar[Mapping[str, str]] = {}

    def __init__(self) -> None:
        super().__init__()
        for name in self.TABLES:
            self.register_buffer(f"baked_{name}", None, persistent=False)

    def laid_out(self, name: str, side: int) -> Tensor:
        """A table as the module computes with it.

        Args:
            name: one of ``TABLES``.
            side: of the embedding grid, in cells.
        """
        raise NotImplementedError

    def table(self, name: str, side: int) -> Tensor:
        """The constant that was baked, else :meth:`laid_out`."""
        baked: Tensor | None = getattr(self, f"baked_{name}")
        return self.laid_out(name, side) if baked is None else baked


def bake(module: nn.Module, side: int) -> None:
    """Lay out every table within a module as a constant, for export.

    Weights that are loaded later do not reach it, nor does another size of the image.

    Args:
        module: changed in place.
        side: of the embedding grid, in cells.
    """
    for part in module.modules():
        if isinstance(part, WithTables):
            for name in part.TABLES:
                values = part.laid_out(name, side).detach()
                baked = values.clone(memory_format=torch.contiguous_format)
                setattr(part, f"baked_{name}", baked)


def into_windows(x: Tensor, window: int) -> Tensor:
    """BxHxWxC cut into the windows of a grid, [windows]x[window * window]xC, row by row.

    The grid begins at the top left; what the last windows lack is filled with zeros.
    """
    batch, height, width, channels = x.shape
    pad_h, pad_w = -height % window, -width % window
    if pad_h or pad_w:
        x = F.pad(x, (0, 0, 0, pad_w, 0, pad_h))
    rows, columns = (height + pad_h) // window, (width + pad_w) // window
    # Channels and a window's columns stay fused so that the permutation has four dimensions.
    x = x.reshape(batch * rows, window, columns, window * channels).transpose(1, 2)
    return x.reshape(batch * rows * columns, window * window, channels)


def from_windows(x: Tensor, window: int, height: int, width: int) -> Tensor:
    """What :func:`into_windows` cut, whole again: BxHxWxC of that height and width."""
    channels = x.shape[2]
    rows, columns = -(-height // window), -(-width // window)
    batch = x.shape[0] // (rows * columns)
    x = x.reshape(batch * rows, columns, window, window * channels).transpose(1, 2)
    x = x.reshape(batch, rows * window, columns * window, channels)
    return x if height == x.shape[1] and width == x.shape[2] else x[:, :height, :width]
