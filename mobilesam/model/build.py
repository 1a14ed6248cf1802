"""Every model this toolkit can build, and how to load one."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn

from mobilesam.errors import InputError
from mobilesam.model.normalization import PIXEL_MEAN, PIXEL_STD
from mobilesam.model.sam import MobileSAM
from mobilesam.model.tiny_vit import TinyViT, TinyViTConfig
from mobilesam.model.vit import VIT_B, VIT_H, VIT_L, ViT
from mobilesam.weights.checkpoints import OpenedWeights, WeightsInfo, fit_state_dict
from mobilesam.weights.published import OFFICIAL, PUBLISHED


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A model: an image encoder with SAM's prompt encoder and mask decoder.

    Attributes:
        title: its name in prose.
        encoder: builds the image encoder, its parameters not yet loaded.
        published: name of its authors' weights, see :mod:`mobilesam.weights.published`.
    """

    title: str
    encoder: Callable[[], nn.Module]
    published: str


VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "vit_t": Variant(
            title="MobileSAM", encoder=lambda: TinyViT(TinyViTConfig()), published=OFFICIAL
        ),
        "vit_b": Variant(title="SAM ViT-B", encoder=lambda: ViT(VIT_B), published="sam_vit_b"),
        "vit_l": Variant(title="SAM ViT-L", encoder=lambda: ViT(VIT_L), published="sam_vit_l"),
        "vit_h": Variant(title="SAM ViT-H", encoder=lambda: ViT(VIT_H), published="sam_vit_h"),
    }
)
"""The one table of models. The first is what is built where nothing says which."""

DEFAULT_VARIANT = next(iter(VARIANTS))

IMAGE_SIZES = range(64, 4097, 16)
"""Sides of the square frame that a model may be built for; a larger one fills the memory."""


def build(variant: str = DEFAULT_VARIANT, image_size: int = 1024) -> MobileSAM:
    """Build a model in eval mode, its parameters not yet loaded.

    Args:
        variant: a key of :data:`VARIANTS`.
        image_size: side S of the square frame; one of :data:`IMAGE_SIZES`.

    Raises:
        InputError: unknown variant or unusable size.
    """
    if variant not in VARIANTS:
        near = get_close_matches(variant, VARIANTS, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise InputError(f"unknown variant '{variant}', known: {', '.join(VARIANTS)}{hint}")
    if image_size not in IMAGE_SIZES:
        bounds = f"from {IMAGE_SIZES[0]} to {IMAGE_SIZES[-1]}"
        raise InputError(f"image_size must be a multiple of 16 {bounds}, not {image_size}")
    return MobileSAM(VARIANTS[variant].encoder(), variant=variant, image_size=image_size).eval()


def load_weights(model: MobileSAM, weights: str | Path) -> WeightsInfo:
    """Load weights into a model, from wherever in their file they lie.

    Args:
        model: as :func:`build` makes it.
        weights: as of :func:`load_model`.

    Raises:
        CheckpointError: as of :func:`load_model`; the model is unchanged.
    """
    return _fill(model, OpenedWeights(weights), "")


def load_model(
    weights: str | Path = "demo",
    variant: str | None = None,
    image_size: int = 1024,
    *,
    weights_sha256: str = "",
) -> MobileSAM:
    """Load a model in eval mode, on the CPU, in float32.

    Args:
        weights: ``"demo"`` (ships with the package), a name of
            :data:`mobilesam.weights.published.PUBLISHED` such as ``"official"`` (downloaded once)
            or a path to a ``.pt`` or ``.safetensors`` checkpoint. Where that holds several complete
            sets, the key of one may follow, as in ``"run.pt#ema"``, or
            ``"run.pt#state_dict.student"``; without it a moving average is taken before the weights
            that it was made of.
        variant: a key of :data:`VARIANTS`; None: the one that the weights are of.
        image_size: side S of the square frame that the model will see.
        weights_sha256: digest of the tensors, which also tells which of several sets is meant.

    Raises:
        InputError: unknown variant or size.
        CheckpointError: the checkpoint cannot be read, does not fit, or holds several complete sets
            and which is meant cannot be told.
    """
    model = build(variant or DEFAULT_VARIANT, image_size)
    opened = OpenedWeights(weights)
    chosen = variant or opened.fitting(_state_dicts())
    if chosen != model.variant:
        model = build(chosen, image_size)
    model.weights = _fill(model, opened, weights_sha256)
    model.requires_grad_(False)
    return model


def _state_dicts() -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Each variant with the names, shapes and dtypes of its entries, without values."""
    for variant in VARIANTS:
        with torch.device("meta"):
            yield variant, build(variant).state_dict()


def _fill(model: MobileSAM, opened: OpenedWeights, sha256: str) -> WeightsInfo:
    constants = {"pixel_mean": PIXEL_MEAN, "pixel_std": PIXEL_STD}
    state_dict, info = opened.state_dict(model.state_dict(), sha256, constants)
    fit_state_dict(model, state_dict)
    return info


def variants_table() -> str:
    """The models there are, as ``docs/models.md`` shows them."""
    lines = [
        "| variant | model | image encoder | decoder | weights by name | their licence |",
        "|---|---|--:|--:|---|---|",
    ]
    for name, row in VARIANTS.items():
        with torch.device("meta"):
            model = build(name)
        encoder = _millions(model.image_encoder)
        decoder = _millions(model.prompt_encoder, model.mask_decoder)
        published = PUBLISHED[row.published]
        weights = f"`{row.published}`, {published.megabytes:,} MB"
        lines.append(
            f"| `{name}` | {row.title} | {encoder} | {decoder} | {weights} | {published.licence} |"
        )
    return "\n".join(lines) + "\n"


def _millions(*modules: nn.Module) -> str:
    count = sum(parameter.numel() for module in modules for parameter in module.parameters())
    return f"{count / 1e6:.1f} M"
