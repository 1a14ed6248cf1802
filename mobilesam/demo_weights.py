"""Weights for trying everything out without a download: seeded, untrained, every branch live.

Their masks mean nothing, but they depend on the photo and on every part of the prompt, so an
export that gets anything wrong shows. No parameter or buffer has a value that would let a
converter drop a branch (zero batch-norm scales, unit norms, equal attention biases).

The numbers are the same on every platform: NumPy's legacy generator draws uniform doubles by
integer arithmetic, they are scaled by constants and rounded to float16.
"""

import math
import re
import zlib

import numpy as np
import torch

DESCRIPTION = "seeded, untrained: the masks mean nothing, use these weights to try the tools only"
"""What every manifest, report and page says of these weights."""

_SEED = 20

# Spread of each kind of entry, the first matching pattern counting. Values lie uniformly in
# centre +- spread; a spread given as "fan" is sqrt(3 * gain / fan_in), which multiplies the
# variance of the layer's input by the gain.
_BIAS = 0.1
_UNIFORM: list[tuple[str, float, float]] = [
    (r"bn\.weight$", 1.0, 0.3),
    (r"bn\.bias$", 0.0, 0.3),
    (r"bn\.running_mean$", 0.0, 0.2),
    (r"bn\.running_var$", 1.0, 0.4),
    (r"attention_biases$", 0.0, 1.0),
    (r"positional_encoding_gaussian_matrix$", 0.0, 2.5),
    (r"(point_embeddings\.\d|not_a_point_embed|iou_token|mask_tokens)\.weight$", 0.0, 1.7),
    (r"no_mask_embed\.weight$", 0.0, 0.5),
    (
        r"(norm\d?|norm_final_attn|neck\.[13]|mask_downscaling\.[14]|output_upscaling\.1)\.weight$",
        1.0,
        0.3,
    ),
    (r"bias$", 0.0, _BIAS),
]
_GAINS: list[tuple[str, float]] = [
    (r"patch_embed\.seq\.0\.c\.weight$", 0.5),
    (r"local_conv\.c\.weight$", 0.3),
    (r"conv\d\.c\.weight$", 0.8),
    (r"image_encoder", 1.0),
    (r"(q_proj|k_proj)\.weight$", 2.0),
    (r"\.", 1.5),
]


def demo_state_dict(variant: str = "vit_t") -> dict[str, torch.Tensor]:
    """Every parameter and buffer of a model of `variant`: float32 (int64 for step counters)."""
    from mobilesam.variants import build  # which itself loads weights by way of this module

    with torch.device("meta"):  # names and shapes are all that is wanted
        expected = build(variant).state_dict()
    return {name: _values(name, tensor) for name, tensor in expected.items()}


def _values(name: str, like: torch.Tensor) -> torch.Tensor:
    if not like.is_floating_point():
        return torch.full(like.shape, 1000, dtype=like.dtype)
    centre, spread = _range(name, tuple(like.shape))
    seed = zlib.crc32(name.replace("k_proj", "q_proj").encode()) ^ _SEED
    draws = np.random.RandomState(seed).random_sample(tuple(like.shape))
    values = centre + spread * (2.0 * draws - 1.0)
    if name.endswith("local_conv.c.weight"):
        values[:, :, 1, 1] += 0.8
    return torch.from_numpy(values.astype(np.float16).astype(np.float32))


def _range(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    for pattern, centre, spread in _UNIFORM:
        if re.search(pattern, name):
            return centre, spread
    transposed = re.search(r"output_upscaling\.[03]\.weight$", name)
    fan_in = shape[0] if transposed else math.prod(shape[1:])
    gain = next(gain for pattern, gain in _GAINS if re.search(pattern, name))
    return 0.0, math.sqrt(3.0 * gain / fan_in)
