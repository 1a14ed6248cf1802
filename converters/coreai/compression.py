"""Integer weights, by Apple's coreai-opt, which replaces constants of the finished program.

It takes the constants of products, convolutions and lookups; norms, biases, attention's tables and
what transposed convolutions read stay as they are.
"""

from typing import TYPE_CHECKING

from converters.schemes import SMALL

if TYPE_CHECKING:
    from coreai.authoring import AIProgram


def to_int8(program: "AIProgram") -> "AIProgram":
    """Weights in int8, symmetric, one scale per output channel of the type that the weights had.

    Args:
        program: changed in place.
    """
    from coreai_opt.coreai_utils import DType, quantize_weights

    return quantize_weights(program, dtype=DType.INT8, weight_num_threshold=SMALL, in_place=True)
