"""Which ops are covered, and who else answers for each: the section of docs/coreml-evaluator.md.

``python -m tests.coreml_evaluator.oracles`` prints it.
"""

from tests.coreml_evaluator.op_cases import (
    compressed,
    elementwise,
    indexing,
    normalization,
    products,
    quantizing,
    resizing,
    shaping,
)
from tests.coreml_evaluator.op_cases.case import Case

TABLES: dict[str, list[Case]] = {
    "compressed": compressed.CASES,
    "elementwise": elementwise.CASES,
    "indexing": indexing.CASES,
    "normalization": normalization.CASES,
    "products": products.CASES,
    "quantizing": quantizing.CASES,
    "resizing": resizing.CASES,
    "shaping": shaping.CASES,
}
"""Cases by family, named as the modules of ``coreml_evaluator.ops`` are."""
