"""Upstream MobileSAM as an independent oracle, from the dev dependency `mobilesam-mirror`.

Upstream imports a few functions of timm and torchvision. Small stand-ins of them, in
`stand_ins/`, are on `sys.path` while upstream is imported and are forgotten again afterwards, so
that no other library of this process takes them for the real packages.
"""

import importlib
import importlib.machinery
import math
import sys
import types
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from mobilesam.model.vit import ViTConfig

STAND_INS = Path(__file__).parent / "stand_ins"
_STAND_IN_PACKAGES = ("timm", "torchvision")


def _pop_modules(packages: tuple[str, ...]) -> dict[str, types.ModuleType]:
    names = [name for name in sys.modules if name.partition(".")[0] in packages]
    return {name: sys.modules.pop(name) for name in names}


def import_upstream() -> types.ModuleType:
    """The package `mobile_sam`, imported over the stand-ins.

    Raises ModuleNotFoundError when `mobilesam-mirror` is not installed.
    """
    if "mobile_sam" in sys.modules:
        return sys.modules["mobile_sam"]
    real = _pop_modules(_STAND_IN_PACKAGES)
    sys.path.insert(0, str(STAND_INS))
    try:
        return importlib.import_module("mobile_sam")
    finally:
        sys.path.remove(str(STAND_INS))
        _pop_modules(_STAND_IN_PACKAGES)
        sys.modules.update(real)


def build_upstream(seed: int) -> nn.Module:
    """Upstream's `vit_t` Sam (1024, eval mode) with every parameter and buffer randomized."""
    model: nn.Module = import_upstream().sam_model_registry["vit_t"]()
    randomize(model, seed)
    return model


def build_upstream_vit(config: ViTConfig, image_size: int) -> nn.Module:
    """Upstream's plain ViT of a shape, built for an image size as upstream builds it.

    On PyTorch's default device, in eval mode, its parameters as they are freshly built.
    """
    encoder = importlib.import_module("mobile_sam.modeling.image_encoder")
    model: nn.Module = encoder.ImageEncoderViT(
        img_size=image_size,
        patch_size=config.patch,
        embed_dim=config.channels,
        depth=config.depth,
        num_heads=config.num_heads,
        mlp_ratio=config.mlp_ratio,
        out_chans=config.out_channels,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=config.window,
        global_attn_indexes=tuple(config.global_blocks),
    )
    return model.eval()


def randomize(model: nn.Module, seed: int) -> None:
    """Give every state-dict entry of `model` live values and rebuild TinyViT's bias cache.

    Freshly built, TinyViT's MBConv branches end in a batch norm of weight zero, its relative
    biases are zero and its norms are the identity: a comparison there would not see a swapped
    table or a forgotten norm. Scales keep activations of order 1. The model is left in eval mode.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            for name, tensor in (*module._parameters.items(), *module._buffers.items()):
                if tensor is not None and name not in module._non_persistent_buffers_set:
                    tensor.copy_(_live_values(module, name, tensor, generator))
    # Upstream caches the gathered attention biases when eval() is called, and only then.
    model.train()
    model.eval()


def _live_values(
    module: nn.Module, name: str, tensor: Tensor, generator: torch.Generator
) -> Tensor:
    def normal(std: float) -> Tensor:
        return torch.randn(tensor.shape, generator=generator) * std

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(tensor.shape, generator=generator)

    if not tensor.is_floating_point():  # num_batches_tracked
        return torch.randint(1, 1000, tensor.shape, generator=generator)
    if name == "running_var":
        return uniform(0.5, 1.5)
    if name == "running_mean" or name == "bias":
        return normal(0.2)
    if name == "attention_biases" or name == "positional_encoding_gaussian_matrix":
        return normal(1.0)
    if isinstance(module, nn.Embedding):
        return normal(1.0)
    if tensor.ndim == 1:  # gain of a batch norm, LayerNorm or LayerNorm2d
        return uniform(0.5, 1.5)
    if name == "pos_embed":
        return normal(1.0)
    fan_in = tensor[0].numel()
    if isinstance(module, nn.ConvTranspose2d):  # [in, out, kh, kw], stride equal to the kernel
        fan_in = tensor.shape[0]
    return normal(1.0 / math.sqrt(fan_in))
