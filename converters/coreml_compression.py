"""Core ML schemes that compress the float16 program: what each needs and does.

A program has two kinds of large constants. *Weights* are multiplied by activations: those of
``linear``, ``conv`` and ``conv_transpose``. *Tables* are added or selected: relative position
biases, the image's positional encoding, the embedding of "no mask". Tables keep 8 bits in every
scheme: at 4 they cost more accuracy than bytes. What has one dimension (offsets, norms) or at most
:data:`SMALL` elements stays as it is, and with it the positional encoding's float32 matrix.

Source: coremltools.optimize.coreml; Apple, "Optimizing Models" of the Core ML Tools guide.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from converters.base import Conversion
from converters.coreml_options import IOS_VERSIONS
from converters.kmeans import palette

if TYPE_CHECKING:
    from coremltools.models import MLModel
    from coremltools.optimize.coreml import OptimizationConfig

SMALL = 2048
"""Constants of at most so many elements stay float16: together they are 1 % of a file."""

BLOCK = 32
"""Input channels that share a scale in ``w4``."""

GROUP = 8
"""Output channels that share a palette in ``p4`` from iOS 18 on."""

_TABLES = ("add", "select")
"""Types of the ops that read tables."""


@dataclass(frozen=True, kw_only=True)
class Compression:
    """One scheme.

    Attributes:
        ios: the lowest iOS that reads its ops.
        apply: makes the compressed program of the float16 one.
        calibrated: it needs samples of real inputs.
    """

    ios: int
    apply: Callable[["MLModel", Conversion], "MLModel"]
    calibrated: bool = False


def minimum_ios(scheme: str) -> int:
    """The lowest iOS that runs a scheme of target ``coreml``: 16, 17 or 18."""
    return COMPRESSIONS[scheme].ios if scheme in COMPRESSIONS else IOS_VERSIONS[0]


def needs_calibration(scheme: str) -> bool:
    """Whether a scheme of target ``coreml`` takes ranges from samples of real inputs."""
    return scheme in COMPRESSIONS and COMPRESSIONS[scheme].calibrated


def compress(model: "MLModel", job: Conversion) -> "MLModel":
    """The program of the job's scheme, made of its float16 program.

    Args:
        model: returned as it is for a scheme that compresses nothing.
        job: its scheme must be one of target ``coreml``.
    """
    if job.scheme not in COMPRESSIONS:
        return model
    return COMPRESSIONS[job.scheme].apply(model, job)


def _linear(model: "MLModel", job: Conversion, **weights: Any) -> "MLModel":
    """Integers times a scale; symmetric, so without a zero point."""
    from coremltools.optimize.coreml import OpLinearQuantizerConfig, linear_quantize_weights

    config = partial(OpLinearQuantizerConfig, mode="linear_symmetric", weight_threshold=SMALL)
    tables = config(dtype="int8", granularity="per_channel")
    return linear_quantize_weights(model, _config(config(**weights), tables))


def _palettized(model: "MLModel", job: Conversion, bits: int, group: int = 0) -> "MLModel":
    """Indices into palettes, one a tensor, or from iOS 18 on one for each group of channels."""
    from coremltools.optimize.coreml import OpPalettizerConfig, palettize_weights

    config = partial(OpPalettizerConfig, mode="custom", weight_threshold=SMALL)
    system = job.coreml.deployment_target(job.scheme, minimum_ios(job.scheme))
    grouped = group and system >= 18
    shape = {"granularity": "per_grouped_channel", "group_size": group} if grouped else {}
    weights = config(lut_function=partial(palette, bits=bits), **shape)
    tables = config(lut_function=partial(palette, bits=8))
    return palettize_weights(model, _config(weights, tables))


def _config(weights: Any, tables: Any) -> "OptimizationConfig":
    from coremltools.optimize.coreml import OptimizationConfig

    return OptimizationConfig(
        global_config=weights, op_type_configs={name: tables for name in _TABLES}
    )


def _static(model: "MLModel", job: Conversion) -> "MLModel":
    """Int8 weights, and int8 inputs of the ops that multiply by them."""
    from converters.coreml_calibration import quantize_activations

    return _linear(quantize_activations(model, job), job, dtype="int8", granularity="per_channel")


COMPRESSIONS: Mapping[str, Compression] = MappingProxyType(
    {
        "w8": Compression(ios=16, apply=partial(_linear, dtype="int8", granularity="per_channel")),
        "w4": Compression(
            ios=18,
            apply=partial(_linear, dtype="int4", granularity="per_block", block_size=BLOCK),
        ),
        "p8": Compression(ios=16, apply=partial(_palettized, bits=8)),
        "p6": Compression(ios=16, apply=partial(_palettized, bits=6)),
        "p4": Compression(ios=16, apply=partial(_palettized, bits=4, group=GROUP)),
        "w8a8": Compression(ios=17, apply=_static, calibrated=True),
    }
)
