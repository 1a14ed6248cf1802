"""Which ops are covered, and who else answers for each: the section of docs/coreml-evaluator.md.

``python -m tests.coreml_evaluator.oracles`` prints it.
"""

from tests.coreml_evaluator.mil_programs import fold
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

COREMLTOOLS, PYTORCH, OURS = "coremltools", "PyTorch", "ours"


def answering(case: Case) -> set[str]:
    """Who gives an answer for a case."""
    found = {OURS if case.ours else PYTORCH} if case.expected else set()
    arrays = [] if case.alone else case.arrays
    return found | ({COREMLTOOLS} if fold(case.alone or case.build, arrays, case.ios) else set())


def markdown() -> str:
    """Counts, and a table of the ops by family with who answers for each."""
    answers: dict[str, dict[str, set[str]]] = {family: {} for family in TABLES}
    for family, cases in TABLES.items():
        for case in cases:
            answers[family].setdefault(case.op, set()).update(answering(case))
    ops = {op: found for of_family in answers.values() for op, found in of_family.items()}
    own_only = sorted(op for op, found in ops.items() if found == {OURS})
    counts = {who: sum(who in found for found in ops.values()) for who in (COREMLTOOLS, PYTORCH)}
    count = sum(map(len, TABLES.values()))
    lines = [
        f"Ops covered: {len(ops)}, by {count} programs. Tested against an oracle that we did not "
        f"write: {len(ops) - len(own_only)} "
        f"(coremltools' folding: {counts[COREMLTOOLS]}, PyTorch's operator: {counts[PYTORCH]}).",
        "",
        "Only against NumPy or a formula of our own: "
        + (", ".join(f"`{op}`" for op in own_only) or "none")
        + ".",
        "",
        "| family | op: c = coremltools' folding, p = PyTorch's operator |",
        "|---|---|",
    ]
    for family, of_family in answers.items():
        listed = ", ".join(f"`{op}` {_letters(found)}" for op, found in sorted(of_family.items()))
        lines.append(f"| {family} | {listed} |")
    return "\n".join(lines) + "\n"


def _letters(found: set[str]) -> str:
    return "".join(who[0].lower() for who in (COREMLTOOLS, PYTORCH) if who in found) or "–"


if __name__ == "__main__":
    print(markdown(), end="")
