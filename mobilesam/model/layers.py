"""Small modules that both the encoder and the decoder use."""

import torch
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
