"""What a function that evaluates an op is given: the op's arguments by name, read as it needs."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, NoReturn

from torch import Tensor

from coreml_evaluator.errors import UnknownOpError

Value = Tensor | str
"""A value of a program. Floats of either width are float32 tensors, integers int32 ones."""

Argument = Value | Sequence[Value]

IOS17 = 8
"""The opset of iOS 17, from which on a few ops differ. Opsets are numbered as file formats are."""


class Arguments:
    """Arguments of one op.

    Args:
        op_type, op_name: of the op, for errors.
        values: by parameter name; a parameter left to its default is absent.
        opset: whose form of the op this is; 7 is iOS 16, 8 iOS 17, 9 iOS 18.
    """

    def __init__(
        self, op_type: str, op_name: str, values: Mapping[str, Argument], opset: int
    ) -> None:
        self.op_type = op_type
        self.op_name = op_name
        self.opset = opset
        self._values = values

    def refuse(self, what: str) -> NoReturn:
        """Stop because of a form of the op that is not implemented."""
        raise UnknownOpError(
            f"Core ML op '{self.op_type}' named '{self.op_name}' {what}, which the evaluator "
            "does not know: check this program on a Mac"
        )

    def given(self, name: str) -> bool:
        """Whether a parameter was given."""
        return name in self._values

    def tensor(self, name: str) -> Tensor:
        """A required tensor."""
        value = self._values.get(name)
        if not isinstance(value, Tensor):
            self.refuse(f"has no tensor '{name}'")
        return value

    def optional(self, name: str) -> Tensor | None:
        """A tensor that may be absent."""
        return self.tensor(name) if self.given(name) else None

    def tensors(self, name: str) -> list[Tensor]:
        """A required list of tensors."""
        value = self._values.get(name)
        if isinstance(value, Tensor | str) or value is None:
            self.refuse(f"has no list of tensors '{name}'")
        found = [item for item in value if isinstance(item, Tensor)]
        if len(found) != len(value):
            self.refuse(f"has something other than tensors in '{name}'")
        return found

    def ints(self, name: str, default: Sequence[int] | None = None) -> list[int]:
        """A vector of integers."""
        if default is not None and not self.given(name):
            return list(default)
        return [int(item) for item in self.tensor(name).reshape(-1).tolist()]

    def bools(self, name: str, length: int) -> list[bool]:
        """A vector of booleans; all false when absent."""
        if not self.given(name):
            return [False] * length
        return [bool(item) for item in self.tensor(name).reshape(-1).tolist()]

    def int(self, name: str, default: int | None = None) -> int:
        """An integer."""
        return int(self.number(name, default))

    def bool(self, name: str, default: bool) -> bool:
        """A boolean."""
        return bool(self.number(name, default))

    def number(self, name: str, default: float | None = None) -> float:
        """A number; an integer stays one."""
        if default is not None and not self.given(name):
            return default
        value: float = self.tensor(name).item()
        return value

    def text(self, name: str, default: str | None = None) -> str:
        """A string."""
        value = self._values.get(name, default)
        if not isinstance(value, str):
            self.refuse(f"has no text '{name}'")
        return value


Result = Tensor | tuple[Tensor, ...]


class Op(NamedTuple):
    """How one op type is evaluated.

    Attributes:
        function: arguments to one tensor, or to one for each output.
        exact: every output value is one of the input values (moved, copied or selected), so that
            it needs no rounding.
        overwriting: the same, writing the result over the memory of the argument ``x``, which then
            has the result's shape; None where that is not to be had.
    """

    function: Callable[[Arguments], Result]
    exact: bool = False
    overwriting: Callable[[Arguments], Tensor] | None = None
