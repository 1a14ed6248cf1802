"""Where a run starts: fresh parameters, or a checkpoint's."""

import math

import torch
from torch import Tensor, nn

from mobilesam.model.build import build, load_weights
from mobilesam.model.layers import LayerNorm2d, WithTables
from mobilesam.model.sam import MobileSAM
from mobilesam.model.tiny_vit import TinyViTBlock, WindowAttention
from mobilesam.model.transformer import Attention
from mobilesam.training.config import FRESH

_SPREAD = 0.02  # of linear layers and tables of positions, as is usual for vision transformers
_LOOK = 1.5  # sharpness of the decoder's first look around a prompt
_EMBEDDING = 0.4  # scale of the embedding that a fresh decoder meets
_FREQUENCIES = (0.5, 0.5, 0.5, 1.5)  # spread of the Fourier features, a quarter of them each
_SLOPES = (0.8, 0.1)  # of attention biases over distance, in the first head of a layer and the last
_BIAS_SPREAD = 0.3  # of attention biases around their slope


def initial_model(
    variant: str, init: str, image_size: int, seed: int, *, fresh_decoder: bool = False
) -> MobileSAM:
    """A model in train mode.

    Args:
        variant: as in :data:`mobilesam.model.build.VARIANTS`.
        init: ``fresh``, or weights as :func:`mobilesam.load_model` takes them.
        image_size: S.
        seed: of fresh parameters.
        fresh_decoder: of ``init`` take the image encoder only, its embedding scaled to the size
            that a fresh decoder learns from.

    Raises:
        InputError, CheckpointError: as in :func:`mobilesam.load_model`.
    """
    model = build(variant, image_size)
    if init == FRESH:
        initialise(model, seed)
    else:
        load_weights(model, init)
        if fresh_decoder:
            initialise(model.prompt_encoder, seed)
            initialise(model.mask_decoder, seed + 1)
            _quieten(model.image_encoder)
    return model.train()


def initialise(module: nn.Module, seed: int) -> None:
    """Draw every parameter anew, in place: small normal linear layers, He-normal convolutions.

    Embeddings are standard normal, as in SAM; norms start at one and biases at zero, except for the
    norm that ends an encoder: it starts at 0.4, since larger image embeddings drown the positions
    added to them. The random Fourier features have lower frequencies than SAM's, so that most of
    them tell left from right. Between prompt and image, keys are projected as queries are, so that
    from the first step on a click attends to the place it was made at: scores are a kernel of the
    distance between two positions. Attention biases fall with distance, steeply in the first head
    of a layer and hardly in its last, with noise on top: biases that start at zero stay near it.
    Linear layers of TinyViT's blocks keep the size of what they are given, so that attention is
    heard beside what it is added to. A plain ViT's tables of positions start as its linear layers.
    """
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.Linear):
            part.weight.data.normal_(0, _SPREAD, generator=generator)
            if part.bias is not None:
                part.bias.data.zero_()
        elif isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            fan_in = part.weight[0].numel() if isinstance(part, nn.Conv2d) else part.in_channels
            part.weight.data.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
            if part.bias is not None:
                part.bias.data.zero_()
        elif isinstance(part, nn.Embedding):
            part.weight.data.normal_(0, 1, generator=generator)
        elif isinstance(part, nn.BatchNorm2d | nn.LayerNorm):
            part.reset_parameters()
        elif isinstance(part, LayerNorm2d):
            part.weight.data.fill_(1)
            part.bias.data.zero_()
    for part in module.modules():
        if isinstance(part, Attention) and part.q_proj.out_features < part.q_proj.in_features:
            width = part.q_proj.in_features
            part.q_proj.weight.data.normal_(0, _LOOK * width**-0.5, generator=generator)
            part.k_proj.weight.data.copy_(part.q_proj.weight.data)
    for name, buffer in module.named_buffers():
        if name.endswith("positional_encoding_gaussian_matrix"):
            buffer.normal_(0, 1, generator=generator)
            spread = torch.tensor(_FREQUENCIES).repeat_interleave(buffer.shape[1] // 4)
            buffer.mul_(spread)
    for part in module.modules():
        if isinstance(part, TinyViTBlock):
            for layer in part.modules():
                if isinstance(layer, nn.Linear):
                    layer.weight.data.normal_(0, layer.in_features**-0.5, generator=generator)
        if isinstance(part, WindowAttention):
            noise = torch.empty_like(part.attention_biases.data)
            noise.normal_(0, _BIAS_SPREAD, generator=generator)
            part.attention_biases.data.copy_(_slopes(part.num_heads, part.window) + noise)
        elif isinstance(part, WithTables):
            for name in part.TABLES:
                part.get_parameter(name).data.normal_(0, _SPREAD, generator=generator)
    _quieten(module)


def _slopes(heads: int, window: int) -> Tensor:
    """Attention biases [heads, window²] that fall with the distance between two tokens."""
    side = torch.arange(window, dtype=torch.float32)
    distance = (side[:, None].square() + side[None, :].square()).sqrt().flatten()
    steep, shallow = (math.log(slope) for slope in _SLOPES)
    return -torch.linspace(steep, shallow, heads).exp()[:, None] * distance


def embedding_scale(module: nn.Module) -> float | None:
    """Standard deviation of the image embedding of an encoder within the module; None without one.

    It is what the encoder's last norm scales by.
    """
    norm = _last_norm(module)
    return None if not norm else float(norm[0].detach().abs().mean())


def _quieten(module: nn.Module) -> None:
    """Scale the embedding of an encoder within the module, if there is one, to ``_EMBEDDING``."""
    scale = embedding_scale(module)
    if scale is not None:
        for parameter in _last_norm(module):
            parameter.data.mul_(_EMBEDDING / scale)


def _last_norm(module: nn.Module) -> list[Tensor]:
    """Weight and bias of the norm that ends an encoder within the module; empty without one."""
    last = ("neck.3.weight", "neck.3.bias")
    return [parameter for name, parameter in module.named_parameters() if name.endswith(last)]
