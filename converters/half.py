"""A module computing in float16 inside and, but for the embedding, float32 at its borders, for
formats without their own way to do so."""

import torch
from torch import Tensor, nn

from converters.long_sums import sum_by_rows
from converters.modules import DecoderModule, EncoderModule
from mobilesam.model.layers import LayerNorm2d


class _Cast(nn.Module):
    """A module between two casts. It must already have the dtype it is given."""

    def __init__(self, module: nn.Module, inside: torch.dtype, outside: torch.dtype) -> None:
        super().__init__()
        self.module = module
        self.inside = inside
        self.outside = outside

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        result = self.module(*(tensor.to(self.inside) for tensor in inputs))
        if isinstance(result, tuple):
            return tuple(tensor.to(self.outside) for tensor in result)
        return result.to(self.outside)


def to_half(module: nn.Module, embedding: torch.dtype = torch.float32) -> nn.Module:
    """Let the image encoder or the mask decoder of a contract module compute in float16.

    In float32 stay: the image's normalisation (0 to 255 and the edge of the image), the prompt
    encoder (0.15 % of the weights; coordinates need more than float16's eleven bits) and every
    LayerNorm2d (its squares overflow float16 from 256 on). Long sums are taken in two steps
    (:mod:`converters.long_sums`), as some processors add up in float16.

    Args:
        module: an :class:`EncoderModule` or :class:`DecoderModule`; changed in place.
        embedding: what the encoder gives, float32 or float16; the decoder takes either.

    Raises:
        TypeError: the module is neither.
    """
    if isinstance(module, EncoderModule):
        module.register_module("image_encoder", _half(module.image_encoder, embedding))
    elif isinstance(module, DecoderModule):
        sum_by_rows(module)
        module.register_module("mask_decoder", _half(module.mask_decoder))
        module.image_position = module.image_position.half()
    else:
        raise TypeError(f"{type(module).__name__} is no module of the contract")
    return module


def _half(module: nn.Module, outside: torch.dtype = torch.float32) -> nn.Module:
    module.half()
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, LayerNorm2d):
                setattr(parent, name, _Cast(child.float(), torch.float32, torch.float16))
    return _Cast(module, torch.float16, outside)
