"""The ops that the evaluator knows: op type to function. Adding one is one row of a family."""

from parity.coreml_evaluator.arguments import Op
from parity.coreml_evaluator.ops import (
    elementwise,
    indexing,
    normalization,
    products,
    resizing,
    shaping,
)

OPS: dict[str, Op] = {
    **elementwise.OPS,
    **indexing.OPS,
    **normalization.OPS,
    **products.OPS,
    **resizing.OPS,
    **shaping.OPS,
}
