"""A constant of an exported file, as every reader of a format gives it.

Each module of a format (``onnx.py``, ``coreml.py``, …) has ``read_constants(path)``, which returns
the floating-point constants that the file's operations compute with, weights among them.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Constant:
    """One constant of a file, made float again.

    What a file computes from constants alone (a table gathered by an index, a sum of products) is
    given as the result, since that is what acts on the answer.

    Attributes:
        name: in the file.
        values: float32 or float64, dequantized, in the file's own layout.
        rounding: broadcasts to ``values``: the largest error that the file's way of storing this
            constant may cause. Half a step of its own scale for integers, half the distance to the
            neighbouring entries for a palette, half a unit in the last place for float16, 0 for
            float32.
        place: position of the first operation that reads it among the file's operations, in the
            order in which they are run; -1 if the file does not say.
        label: what the file calls the layer or the value that reads it; empty if it does not say.
        outermost: int8, of the shape of ``values``: -1 where a value is the least entry of a
            palette, 1 where it is the greatest, else 0. What lies beyond these entries has no
            nearer one, however far it lies. None if there is no palette.
        folded_in_half: whether what was folded into this constant was folded in float16.
        reader: kind of the operation that reads it and as which input: operations of one kind read
            their weights laid out alike. Empty if the file does not say.
    """

    name: str
    values: np.ndarray
    rounding: np.ndarray
    place: int = -1
    label: str = ""
    outermost: np.ndarray | None = None
    folded_in_half: bool = False
    reader: str = ""


def half_ulp(values: np.ndarray) -> np.ndarray:
    """Half a unit in the last place of float16 for each value; NaN where it has none."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.spacing(np.abs(values).astype(np.float16)).astype(np.float32) / 2
