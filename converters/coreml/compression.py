"""Core ML schemes that compress the float16 program: what each needs and does.

Every constant of more than ``SMALL`` elements and more than one dimension is compressed: the
weights of ``linear``, ``conv`` and ``conv_transpose``, and the *tables* that are added, selected or
multiplied with (positions, relative position biases, the image's positional encoding, the embedding
of "no mask"). Biases, norms and what is small stay as they are, and so the positional encoding's
float32 matrix.

Below 8 bits, convolutions and :data:`SENSITIVE` layers keep 8. They are a seventh of the weights
and most of the error. Measured with earlier demo weights at 512: with 4-bit palettes everywhere the
embedding's relative L2 was 0.083, with convolutions at 8 bits 0.027 (0.019 with grouped palettes);
the decoder's mean mask IoU was 0.935, with the sensitive layers at 8 bits 0.968.

Source: coremltools.optimize.coreml; Apple's guide to Core ML Tools, "Optimizing models".
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from converters.base import Conversion
from converters.coreml.kmeans import palette
from converters.coreml.options import coreml_options
from converters.schemes import SMALL

if TYPE_CHECKING:
    from coremltools.models import MLModel

BLOCK = 32
"""Input channels that share a scale in ``w4``."""

GROUP = 8
"""Output channels that share a palette in ``p4`` from iOS 18 on."""

CONVOLUTIONS = ("conv", "conv_transpose")
TABLES = ("add", "matmul")
"""Types of the ops that read convolution weights, and tables."""

SENSITIVE = "cross_attn_image_to_token"
"""In the name of a constant that keeps 8 bits, as convolutions do: the projections of the decoder's
attention that writes what the prompt says into the image."""


def compress(model: "MLModel", job: Conversion) -> "MLModel":
    """The program of the job's scheme, made of its float16 program.

    Args:
        model: returned as it is for a scheme that compresses nothing.
        job: its scheme must be one of target ``coreml``.
    """
    if job.scheme not in COMPRESSIONS:
        return model
    return COMPRESSIONS[job.scheme](model, job)


def _int8(model: "MLModel", job: Conversion) -> "MLModel":
    """Int8, symmetric, a scale for each output channel."""
    from coremltools.optimize.coreml import OptimizationConfig, linear_quantize_weights

    return linear_quantize_weights(model, OptimizationConfig(global_config=_integers("int8")))


def _int4(model: "MLModel", job: Conversion) -> "MLModel":
    """Int4, symmetric, a scale for each block of input channels; int8 for sensitive layers."""
    from coremltools.optimize.coreml import OptimizationConfig, linear_quantize_weights

    blocks = _integers("int4", granularity="per_block", block_size=BLOCK)
    # Tables have no input channels that could be cut into blocks.
    eight = dict.fromkeys(_sensitive(model, TABLES), _integers("int8"))
    return linear_quantize_weights(
        model, OptimizationConfig(global_config=blocks, op_name_configs=eight)
    )


def _palettized(model: "MLModel", job: Conversion, bits: int, group: int = 0) -> "MLModel":
    """Indices into palettes, one a tensor, or from iOS 18 on one for each group of channels."""
    from coremltools.optimize.coreml import OptimizationConfig, palettize_weights

    own = _palettes(bits)
    if group and coreml_options(job.spec).deployment_target(job.scheme) >= 18:
        own = _palettes(bits, granularity="per_grouped_channel", group_size=group)
    eight = dict.fromkeys(_sensitive(model, ()), _palettes(8))
    tables = dict.fromkeys(TABLES, _palettes(bits))
    config = OptimizationConfig(global_config=own, op_type_configs=tables, op_name_configs=eight)
    return palettize_weights(model, config)


def _integers_and_activations(model: "MLModel", job: Conversion) -> "MLModel":
    """Int8 weights, and int8 inputs of the ops that multiply by them."""
    from converters.coreml.calibration import quantize_activations

    return _int8(quantize_activations(model, job), job)


def _integers(dtype: str, **shape: Any) -> Any:
    from coremltools.optimize.coreml import OpLinearQuantizerConfig

    return OpLinearQuantizerConfig(
        mode="linear_symmetric", dtype=dtype, weight_threshold=SMALL, **shape
    )


def _palettes(bits: int, **shape: Any) -> Any:
    from coremltools.optimize.coreml import OpPalettizerConfig

    return OpPalettizerConfig(
        mode="custom", lut_function=partial(palette, bits=bits), weight_threshold=SMALL, **shape
    )


def _sensitive(model: "MLModel", tables: tuple[str, ...]) -> list[str]:
    """Names of the constants that keep 8 bits where others get fewer.

    Args:
        model: the float16 program.
        tables: op types whose tables are among them.
    """
    from coremltools.optimize.coreml import get_weights_metadata

    found = []
    for name, weight in get_weights_metadata(model, SMALL).items():
        readers = {operation.op_type for operation in weight.child_ops}
        if readers & {*CONVOLUTIONS, *tables} or SENSITIVE in name:
            found.append(name)
    return found


COMPRESSIONS: Mapping[str, Callable[["MLModel", Conversion], "MLModel"]] = MappingProxyType(
    {
        "w8": _int8,
        "w4": _int4,
        "p8": partial(_palettized, bits=8),
        "p6": partial(_palettized, bits=6),
        "p4": partial(_palettized, bits=4, group=GROUP),
        "w8a8": _integers_and_activations,
    }
)
"""What makes the compressed program of each scheme of the float16 one."""
