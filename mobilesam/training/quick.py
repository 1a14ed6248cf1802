"""The same layers, computed as they are quickest to train on a CPU in bfloat16.

oneDNN's backward pass of a bfloat16 convolution whose kernel is wider than a pixel takes two to
five times as long as in float32 where it strides or mixes channels, and that of a transposed one
longer still. Parameters, names and results stay: only the way to them changes.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mobilesam.model.layers import LayerNorm2d


def quicken(module: nn.Module) -> None:
    """Exchange how the layers within a module are computed, in place.

    Transposed convolutions whose kernels do not overlap become matrix products, wide convolutions
    that stride or mix channels run in float32, and norms over channels become one fused call.
    """
    for part in module.modules():
        if isinstance(part, nn.ConvTranspose2d) and _does_not_overlap(part):
            part.forward = partial(_spread, part)  # type: ignore[method-assign]
        elif isinstance(part, nn.Conv2d) and part.kernel_size != (1, 1):
            if part.groups == 1 or part.stride != (1, 1):
                part.forward = partial(_in_float32, part)  # type: ignore[method-assign]
        elif isinstance(part, LayerNorm2d):
            part.forward = partial(_normed, part)  # type: ignore[method-assign]


def _does_not_overlap(layer: nn.ConvTranspose2d) -> bool:
    plain = layer.padding == layer.output_padding == (0, 0) and layer.dilation == (1, 1)
    return plain and layer.groups == 1 and layer.kernel_size == layer.stride


def _spread(layer: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """A transposed convolution that gives each pixel a patch of its own: one matrix product."""
    batch, _, height, width = x.shape
    _, channels, rows, columns = layer.weight.shape
    table = layer.weight.permute(2, 3, 1, 0).flatten(0, 2)
    bias = None if layer.bias is None else layer.bias.repeat(rows * columns)
    patches = F.linear(x.permute(0, 2, 3, 1), table, bias)
    patches = patches.reshape(batch, height, width, rows, columns, channels).transpose(2, 3)
    spread = patches.reshape(batch, height * rows, width * columns, channels)
    return spread.permute(0, 3, 1, 2)


def _in_float32(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """A convolution in float32, its result in the type that autocast would give it."""
    device = x.device.type
    wanted = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    with torch.autocast(device, enabled=False):
        y = F.conv2d(
            x.float(),
            layer.weight,
            layer.bias,
            layer.stride,
            layer.padding,
            layer.dilation,
            layer.groups,
        )
    return y.to(wanted)


def _normed(layer: LayerNorm2d, x: Tensor) -> Tensor:
    """A norm over the channels of each pixel, the channels last in memory."""
    pixels = x.permute(0, 2, 3, 1)
    return F.layer_norm(pixels, pixels.shape[-1:], layer.weight, layer.bias, layer.eps).permute(
        0, 3, 1, 2
    )
