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

_SEED = 12
"""Of forty seeds tried, the one whose masks are neither empty nor full on the photos tried."""

_COUNTER = 1000  # num_batches_tracked, which inference does not read

# Values lie uniformly within centre +- spread; the first pattern found in the name counts.
_RANGES: list[tuple[str, float, float]] = [
    (r"bn\.weight$", 1.0, 0.3),
    (r"bn\.bias$", 0.0, 0.1),
    (r"bn\.running_mean$", 0.0, 0.1),
    (r"bn\.running_var$", 1.0, 0.4),
    (r"norm\d?\.weight$|norm_final_attn\.weight$", 1.0, 0.3),
    (r"(neck\.[13]|mask_downscaling\.[14]|output_upscaling\.1)\.weight$", 1.0, 0.3),
    (r"attention_biases$", 0.0, 1.0),
    (r"positional_encoding_gaussian_matrix$", 0.0, 2.5),
    (r"(point_embeddings\.\d|not_a_point_embed|iou_token|mask_tokens)\.weight$", 0.0, 1.7),
    (r"no_mask_embed\.weight$", 0.0, 0.25),
    (r"iou_prediction_head\.layers\.2\.bias$", 0.6, 0.12),  # predictions around 0.6
    (r"mask_decoder.*bias$", 0.0, 0.05),
    (r"bias$", 0.0, 0.1),
]

# Matrices and kernels: centre 0 and a spread that makes the variance of the output `gain` times
# that of the input. More than 1 makes up for what a GELU takes away. Attention between prompt
# and image is sharp and the mask heads are large, so that the prompt matters.
_GAINS: list[tuple[str, float]] = [
    (r"patch_embed\.seq\.0\.c\.weight$", 1.0),
    (r"patch_embed\.seq\.2\.c\.weight$", 1.5),
    (r"local_conv\.c\.weight$", 0.3),
    (r"conv\d\.c\.weight$", 1.6),
    (r"^image_encoder", 1.0),
    (r"(q_proj|k_proj)\.weight$", 3.0),
    (r"cross_attn_image_to_token\.out_proj\.weight$", 0.4),
    (r"output_hypernetworks_mlps.*weight$", 2.5),
    (r"iou_prediction_head\.layers\.2\.weight$", 0.04),
    (r"weight$", 1.5),
]

_UPSCALING = re.compile(r"output_upscaling\.[03]\.weight$")  # transposed kernels: in, out, 2, 2


def demo_state_dict(variant: str = "vit_t") -> dict[str, torch.Tensor]:
    """Every parameter and buffer of a model of `variant`, float32 (step counters int64).

    Raises `InputError` for an unknown variant.
    """
    from mobilesam.variants import build  # which itself loads weights by way of this module

    expected = build(variant, image_size=64).state_dict()  # names and shapes are all that counts
    return {name: _values(name, tensor) for name, tensor in expected.items()}


def _values(name: str, like: torch.Tensor) -> torch.Tensor:
    """The values of one entry, seeded by its name so that they depend on nothing else."""
    if not like.is_floating_point():
        return torch.full_like(like, _COUNTER)
    shape = tuple(like.shape)
    centre, spread = _range(name, shape)
    # Keys are projected as queries are, so that a click attends to the place it was made at.
    seed = zlib.crc32(name.replace("k_proj", "q_proj").encode()) ^ _SEED
    draws = np.random.RandomState(seed).random_sample(shape)
    values = centre + spread * (2.0 * draws - 1.0)
    if name.endswith("local_conv.c.weight"):
        values[:, :, 1, 1] += 0.8  # this convolution has no residual around it: keep its input
    elif name == "image_encoder.neck.2.weight":
        # Weaken what is the same everywhere, so that the embedding is mostly about places.
        values -= 0.6 * values.mean(axis=(2, 3), keepdims=True)
    elif _UPSCALING.search(name):
        # The four pixels made of one are nearly alike: masks are areas, not a screen of dots.
        values = 0.9 * values[:, :, :1, :1] + 0.2 * values
    return torch.from_numpy(values.astype(np.float16).astype(np.float32))


def _range(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Centre and spread of an entry's values."""
    for pattern, centre, spread in _RANGES:
        if re.search(pattern, name):
            return centre, spread
    gain = next(gain for pattern, gain in _GAINS if re.search(pattern, name))
    fan_in = shape[0] if _UPSCALING.search(name) else math.prod(shape[1:])
    return 0.0, math.sqrt(3.0 * gain / fan_in)
