"""Which operations of a float16 program compute in float32 all the same."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coremltools.converters.mil.mil import Operation

EXACT_INPUTS = frozenset({"point_coords", "valid_size"})
"""Positions in pixels. What is computed from them alone stays float32 in an fp16 program:
float16's eleven bits would move a point, and the phases of its positional encoding, visibly."""


NORMALISED = "normalised image"
"""Stands for the input ``image`` from the subtraction of the mean on."""


class HalfSelector:
    """Decides for each operation whether it may compute in float16.

    Args:
        resizes: the program scales its image before it subtracts the mean: in whole numbers, for
            which float16 is too short.
    """

    def __init__(self, resizes: bool = False) -> None:
        self._exact = EXACT_INPUTS | {"image"} if resizes else EXACT_INPUTS
        self._sources: dict[str, frozenset[str]] = {}

    def __call__(self, operation: "Operation") -> bool:
        sources = self._of(operation)
        return not sources or not sources <= self._exact

    def _of(self, operation: "Operation") -> frozenset[str]:
        """Names of the program's inputs that an operation's values are computed from.

        Asked in the program's order, so that its operands' sources are known already. What a
        selection goes by is no part of its values.
        """
        if operation.name not in self._sources:
            found: set[str] = set()
            operands = dict(operation.inputs)
            if operation.op_type == "select":
                del operands["cond"]
            for operand in operands.values():
                for variable in operand if isinstance(operand, list | tuple) else [operand]:
                    if variable is None:
                        continue
                    found |= {variable.name} if variable.op is None else self._of(variable.op)
            if operation.op_type == "sub" and "image" in found:
                found = {NORMALISED}
            self._sources[operation.name] = frozenset(found)
        return self._sources[operation.name]
