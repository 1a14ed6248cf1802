"""The ops that the evaluator knows: op type to function. Adding one is one row of a family."""

from coreml_evaluator.arguments import Op
from coreml_evaluator.ops import (
    compressed,
    elementwise,
    indexing,
    normalization,
    products,
    quantizing,
    resizing,
    shaping,
)

OPS: dict[str, Op] = {
    **compressed.OPS,
    **elementwise.OPS,
    **indexing.OPS,
    **normalization.OPS,
    **products.OPS,
    **quantizing.OPS,
    **resizing.OPS,
    **shaping.OPS,
}
