"""Each op of the evaluator, read back from a saved package, against independent answers.

The answers are PyTorch's or NumPy's own function for the same thing, and what coremltools computes
when it folds the op over constants.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coreml_evaluator import CoreMLProgram, UnknownOpError
from coreml_evaluator import ops as families
from coreml_evaluator.ops import OPS
from tests.coreml_evaluator.mil_programs import fold, mb, save_program
from tests.coreml_evaluator.op_cases.case import Case, X
from tests.coreml_evaluator.oracles import TABLES

CASES = [case for table in TABLES.values() for case in table]


@pytest.mark.parametrize("family", TABLES)
def test_every_op_of_a_family_has_a_case_in_its_table(family: str) -> None:
    assert {case.op for case in TABLES[family]} == set(getattr(families, family).OPS)


def test_every_op_belongs_to_one_family() -> None:
    assert sum(len(getattr(families, family).OPS) for family in TABLES) == len(OPS)


@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{case.op}" for i, case in enumerate(CASES)])
def test_op_agrees_with_independent_answers(case: Case, tmp_path: Path) -> None:
    program = CoreMLProgram(save_program(tmp_path, case.build, case.arrays, case.ios))
    assert case.op in program.op_types  # it was not folded away before it was saved
    inputs = {t.name: a for t, a in zip(program.inputs, case.arrays, strict=True)}
    found = [value.numpy() for value in program.run(inputs).values()]

    answers = []
    if case.expected:
        answers.append(_arrays(case.expected(*map(torch.as_tensor, case.arrays))))
    folded = fold(case.alone or case.build, [] if case.alone else case.arrays, case.ios)
    if folded is not None:
        answers.append(folded)
    assert answers
    for answer in answers:
        assert len(answer) == len(found)
        for one, other in zip(found, answer, strict=True):
            assert one.shape == other.shape
            # The others may round to float16 inside the op as well.
            half = other.dtype == np.float16
            np.testing.assert_allclose(
                one, other.astype(np.float64), rtol=2e-3 if half else 2e-5, atol=2e-6
            )


def _arrays(expected: Any) -> list[np.ndarray]:
    parts = expected if isinstance(expected, list | tuple) else [expected]
    return [part.numpy() for part in parts]


@pytest.mark.parametrize(
    "pick",
    [
        lambda v, i: mb.gather(x=v, indices=i, axis=1),
        lambda v, i: mb.gather_along_axis(x=v, indices=mb.expand_dims(x=i, axes=[0, 2]), axis=1),
        lambda v, i: mb.gather_nd(x=v, indices=mb.expand_dims(x=i, axes=[0])),
    ],
    ids=["gather", "gather_along_axis", "gather_nd"],
)
def test_indices_that_a_system_leaves_undefined_are_refused(tmp_path: Path, pick: Any) -> None:
    arrays = [X[:1, :, :1], np.array([0, 0, 0], np.int32)]
    for ios, wrong in [(16, 3), (16, -4), (17, -1), (17, 3)]:
        program = CoreMLProgram(save_program(tmp_path / f"{ios}{wrong}", pick, arrays, ios))
        program.run({"in0": arrays[0], "in1": arrays[1]})
        with pytest.raises(UnknownOpError, match="picks an index outside 0 to"):
            program.run({"in0": arrays[0], "in1": np.array([0, 0, wrong], np.int32)})
