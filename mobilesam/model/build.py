"""Every model this toolkit can build, and how to load one."""

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from torch import nn

from mobilesam.errors import InputError
from mobilesam.model.normalization import PIXEL_MEAN, PIXEL_STD
from mobilesam.model.sam import MobileSAM
from mobilesam.model.tiny_vit import TinyViT, TinyViTConfig
from mobilesam.model.vit import VIT_B, VIT_H, VIT_L, ViT
from mobilesam.weights.checkpoints import WeightsInfo, fit_state_dict, load_state_dict

VARIANTS: dict[str, Callable[[], nn.Module]] = {
    "vit_t": lambda: TinyViT(TinyViTConfig()),
    "vit_b": lambda: ViT(VIT_B),
    "vit_l": lambda: ViT(VIT_L),
    "vit_h": lambda: ViT(VIT_H),
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


def load_weights(model: MobileSAM, weights: str | Path, *, sha256: str = "") -> WeightsInfo:
    """Load weights into a model, from wherever in their file they lie.

    Args:
        model: as :func:`build` makes it.
        weights: as of :func:`load_model`.
        sha256: digest of the tensors to take, where the file holds several complete sets and
            ``weights`` has no key.

    Raises:
        CheckpointError: as of :func:`load_model`; the model is unchanged.
    """
    state_dict, info = load_state_dict(
        weights,
        wanted=model.state_dict(),
        sha256=sha256,
        constants={"pixel_mean": PIXEL_MEAN, "pixel_std": PIXEL_STD},
    )
    fit_state_dict(model, state_dict)
    return info


def load_model(
    weights: str | Path = "demo",
    variant: str = "vit_t",
    image_size: int = 1024,
    *,
    weights_sha256: str = "",
) -> MobileSAM:
    """Load a model in eval mode, on the CPU, in float32.

    Args:
        weights: ``"demo"`` (ships with the package), ``"official"`` (downloaded once) or a path to
            a ``.pt`` or ``.safetensors`` checkpoint. Where that holds several complete sets, the
            key of one may follow, as in ``"run.pt#ema"``, or ``"run.pt#state_dict.student"``;
            without it a moving average is taken before the weights that it was made of.
        variant: a key of :data:`VARIANTS`.
        image_size: side S of the square frame that the model will see.
        weights_sha256: digest of the tensors, which also tells which of several sets is meant.

    Raises:
        InputError: unknown variant or size.
        CheckpointError: the checkpoint cannot be read, does not fit, or holds several complete sets
            and which is meant cannot be told.
    """
    model = build(variant, image_size)
    model.weights = load_weights(model, weights, sha256=weights_sha256)
    model.requires_grad_(False)
    return model
