"""Recognising whose checkpoint it is by its entries, so that an error can name the model."""

import re
from collections.abc import Callable, Mapping

import torch

_SAM_VIT_WIDTHS = {768: "SAM ViT-B", 1024: "SAM ViT-L", 1280: "SAM ViT-H"}

# Tried in order: the first whose pattern matches the start of some entry's name.
_SIGNS: list[tuple[str, str]] = [
    (r"image_encoder\.trunk\.|memory_encoder\.|sam_mask_decoder\.", "SAM 2"),
    (r"vision_encoder\.|shared_image_embedding\.", "a Hugging Face SAM model"),
    (r"image_encoder\.stages\.|image_encoder\.fuse", "EdgeSAM"),
    (r"image_encoder\.features\.", "RepViT-SAM"),
    (r"image_encoder\.backbone\.", "EfficientViT-SAM"),
    (r"image_encoder\.blocks\.", "EfficientSAM"),
    (r"image_encoder\.", "another segment-anything model"),
    (r"prompt_encoder\.|mask_decoder\.", "a segment-anything model without its image encoder"),
    (r"patch_embed\.seq\.0\.c\.", "a TinyViT image encoder alone"),
    (r"layer[1-4]\.0\.conv1\.|fc\.weight", "a ResNet"),
    (r"cls_token|patch_embed\.proj\.", "a vision transformer"),
    (r"\d+\.(conv|cv1|m)\.", "a YOLO model"),
    (r"unet\.|diffusion_model\.|first_stage_model\.", "a diffusion model"),
]

_TINY_VIT = "image_encoder.patch_embed.seq.0.c.weight"


def guess_family(state_dict: Mapping[str, torch.Tensor]) -> str | None:
    """The model whose entries these look like ("MobileSAM", "a ResNet"), if it is obvious.

    None for entries that look like nothing known.
    """
    if _TINY_VIT in state_dict:
        return "MobileSAM"
    position = state_dict.get("image_encoder.pos_embed")
    if position is not None and position.ndim == 4 and position.shape[-1] in _SAM_VIT_WIDTHS:
        return _SAM_VIT_WIDTHS[position.shape[-1]]
    for pattern, family in _SIGNS:
        matches: Callable[[str], object] = re.compile(pattern).match
        if any(matches(name) for name in state_dict):
            return family
    return None
