"""Every model this toolkit can build, and how to load one."""

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from torch import nn

from mobilesam.errors import InputError
from mobilesam.model.sam import MobileSAM
from mobilesam.model.tiny_vit import TinyViT, TinyViTConfig
from mobilesam.weights.checkpoints import fit_state_dict, load_state_dict

VARIANTS: dict[str, Callable[[], nn.Module]] = {
    "vit_t": lambda: TinyViT(TinyViTConfig()),
}
"""Image encoder of each variant. Prompt encoder and mask decoder are SAM's in all of them."""


def build(variant: str = "vit_t", image_size: int = 1024) -> MobileSAM:
    """Build a model in eval mode, its parameters not yet loaded.

    Args:
        variant: a key of :data:`VARIANTS`.
        image_size: side S of the square frame; a multiple of 16, 64 or more.

    Raises:
        InputError: unknown variant or unusable size.
    """
    if variant not in VARIANTS:
        near = get_close_matches(variant, VARIANTS, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise InputError(f"unknown variant '{variant}', known: {', '.join(VARIANTS)}{hint}")
    if image_size < 64 or image_size % 16:
        raise InputError(f"image_size must be a multiple of 16 and at least 64, not {image_size}")
    return MobileSAM(VARIANTS[variant](), variant=variant, image_size=image_size).eval()


def load_model(
    weights: str | Path = "demo", variant: str = "vit_t", image_size: int = 1024
) -> MobileSAM:
    """Load a model in eval mode, on the CPU, in float32.

    Args:
        weights: ``"demo"`` (ships with the package), ``"official"`` (downloaded once) or a path to
            a ``.pt`` or ``.safetensors`` checkpoint.
        variant: a key of :data:`VARIANTS`.
        image_size: side S of the square frame that the model will see.

    Raises:
        InputError: unknown variant or size.
        CheckpointError: the checkpoint cannot be read or does not fit.
    """
    model = build(variant, image_size)
    state_dict, info = load_state_dict(weights)
    fit_state_dict(model, state_dict)
    model.weights = info
    model.requires_grad_(False)
    return model
