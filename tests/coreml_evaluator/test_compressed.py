"""What can be told by hand of the decompression of weights."""

from pathlib import Path

import torch

from coreml_evaluator import CoreMLProgram
from coreml_evaluator.ops.compressed import spread, unpacked
from tests.coreml_evaluator.mil_programs import save_program
from tests.coreml_evaluator.op_cases.compressed import ZERO, lut


def test_bits_are_unpacked_from_the_lowest() -> None:
    packed = torch.tensor([0b01_10_11_00, 0b11])  # the reference's own example
    assert unpacked(packed, 2, 5).tolist() == [0, 3, 2, 1, 3]
    # 6 bits: the second number begins in the first byte and ends in the second.
    assert unpacked(torch.tensor([0b01_000001, 0b0000_1000]), 6, 2).tolist() == [1, 0b100001]


def test_blocks_are_spread() -> None:
    blocks = torch.tensor([[1, 2], [3, 4]])
    assert spread(blocks, (2, 4)).tolist() == [[1, 1, 2, 2], [3, 3, 4, 4]]
    assert spread(blocks[:1], (2, 2)).tolist() == [[1, 2], [1, 2]]


def test_decompressed_weights_replace_their_parts(tmp_path: Path) -> None:
    path = save_program(tmp_path, lut(4, (4, 6), (1, 1)).build, [ZERO], 18)
    opened = CoreMLProgram(path)
    kept = [v for v in opened._constants.values() if isinstance(v, torch.Tensor) and v.dim() > 1]
    assert [tuple(value.shape) for value in kept] == [(4, 6)]  # neither indices nor table
    first, second = (opened.run({"in0": ZERO}) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
