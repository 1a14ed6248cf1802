"""Where a run starts: fresh parameters, or a checkpoint's."""

import torch
from torch import nn

from mobilesam.checkpoints import fit_state_dict, load_state_dict
from mobilesam.sam import MobileSAM
from mobilesam.transformer import Attention
from mobilesam.variants import build

FRESH = "fresh"
"""Name of newly drawn parameters."""

_SPREAD = 0.02  # of linear layers, as is usual for vision transformers
_LOOK = 1.5  # sharpness of the decoder's first look around a prompt
_EMBEDDING = 0.4  # of a fresh encoder's embedding: larger ones drown the positions added to them
_FREQUENCIES = (0.5, 0.5, 0.5, 1.5)  # spread of the Fourier features, a quarter of them each


def initial_model(
    variant: str, init: str, image_size: int, seed: int, *, fresh_decoder: bool = False
) -> MobileSAM:
    """A model in train mode.

    Args:
        variant: as in :data:`mobilesam.variants.VARIANTS`.
        init: ``fresh``, or weights as :func:`mobilesam.load_model` takes them.
        image_size: S.
        seed: of fresh parameters.
        fresh_decoder: of ``init`` take the image encoder only.

    Raises:
        InputError, CheckpointError: as in :func:`mobilesam.load_model`.
    """
    model = build(variant, image_size)
    if init == FRESH:
        initialise(model, seed)
    else:
        fit_state_dict(model, load_state_dict(init)[0])
        if fresh_decoder:
            initialise(model.prompt_encoder, seed)
            initialise(model.mask_decoder, seed + 1)
            _quieten(model.image_encoder)
    return model.train()


def initialise(module: nn.Module, seed: int) -> None:
    """Draw every parameter anew, in place: small normal linear layers, He-normal convolutions.

    Embeddings are standard normal, as in SAM; norms start at one, biases at zero. The random
    Fourier features have lower frequencies than SAM's, so that most of them tell left from right.
    Between prompt and image, keys are projected as queries are, so that from the first step on a
    click attends to the place it was made at: scores are a kernel of the distance between two
    positions.
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
        elif isinstance(part, nn.BatchNorm2d):
            part.reset_parameters()
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
    for name, parameter in module.named_parameters():
        if name.endswith("attention_biases"):
            parameter.data.zero_()
    _quieten(module)


def _quieten(module: nn.Module) -> None:
    """Scale the embedding that an encoder within the module ends with, in place."""
    for name, parameter in module.named_parameters():
        if name.endswith(("neck.3.weight", "neck.3.bias")):
            parameter.data.mul_(_EMBEDDING)
