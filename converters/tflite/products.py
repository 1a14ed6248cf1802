"""Products of computed matrices that stay products in a TFLite file.

litert-torch drops a batch axis of one, and what is left becomes a linear layer whose weights are
computed: XNNPACK leaves such a layer to LiteRT's own, slower kernels, and the graph falls into
pieces around it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from litert_converter.mlir import ir


@contextmanager
def batches_of_one() -> Iterator[None]:
    """Within the block litert-torch converts ``bmm`` to ``BATCH_MATMUL``, whatever the batch."""
    from litert_torch.backend.lowerings.registry import global_registry

    product = torch.ops.aten.bmm.default
    known = global_registry.lookup(product)
    global_registry.register(product, _batched)
    try:
        yield
    finally:
        global_registry.register(product, known)


def _batched(_: Any, left: "ir.Value", right: "ir.Value") -> "ir.Value":
    """[B, N, K] and [B, K, M] to [B, N, M]."""
    from litert_converter.mlir import ir
    from litert_converter.mlir.dialects import stablehlo

    (batch, rows, _), columns = left.type.shape, right.type.shape[2]
    return stablehlo.dot_general(
        ir.RankedTensorType.get((batch, rows, columns), left.type.element_type),
        left,
        right,
        stablehlo.DotDimensionNumbers.get(
            lhs_batching_dimensions=[0],
            rhs_batching_dimensions=[0],
            lhs_contracting_dimensions=[2],
            rhs_contracting_dimensions=[1],
        ),
    )
