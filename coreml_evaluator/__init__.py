"""Core ML programs evaluated with PyTorch, op by op, where Core ML itself does not exist.

It reads the saved ``.mlpackage``: the spec and the weights as they lie on disk. It is not Core ML:
see :mod:`coreml_evaluator.precision` for what it can and cannot know about a device.
"""

from coreml_evaluator.errors import ProgramError, ProgramInputError, UnknownOpError
from coreml_evaluator.program import CoreMLProgram
from coreml_evaluator.reading import functions_of
from coreml_evaluator.records import Evaluation, TensorType

__all__ = [
    "CoreMLProgram",
    "Evaluation",
    "ProgramError",
    "ProgramInputError",
    "TensorType",
    "UnknownOpError",
    "functions_of",
]
