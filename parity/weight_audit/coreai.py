"""Constants of a Core AI asset, with what its operations compute from constants alone."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import coreai.authoring as authoring  # before the dialects, which need it loaded
import numpy as np
from coreai._compiler._mlir_libs._coreaiIR import _bindings

from mobilesam.errors import BundleError
from mobilesam.runtimes.checked import first_line
from mobilesam.runtimes.coreai import check_asset
from parity.weight_audit.constants import Constant, half_ulp

_DTYPES = {"f16": "float16", "f32": "float32", "f64": "float64", "i1": "bool"}
_DTYPES |= {f"si{bits}": f"int{bits}" for bits in (8, 16, 32, 64)}
_DTYPES |= {f"ui{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)}
"""NumPy's names of Core AI's types."""

_CONSTANT = "coreai.constant"

_QUOTIENT = 2.0**-5
"""Half an ulp of 127 in float16, in which coreai-opt divides by a scale."""


class _Known(NamedTuple):
    """A constant, and the largest error that its storage may have caused."""

    values: np.ndarray
    rounding: np.ndarray


def read_constants(path: Path, function: str = "") -> list[Constant]:
    """The floating-point constants that a program's operations compute with.

    Args:
        path: of the asset.
        function: whose; by default that of the program's only public one.

    Raises:
        BundleError: the asset cannot be read.
    """
    check_asset(path)
    try:
        return _Reader(path, function).read()
    except Exception as error:  # the reader of the format raises types of its own
        raise BundleError(
            f"the constants of {path} cannot be read ({first_line(error)}), export the bundle again"
        ) from error


def graph_of(program: Any, function: str) -> Any:
    """A function of a program, which must be kept as long as the function is used."""
    for operation in program._module._body.operations:
        if operation.name == "coreai.graph" and operation.attributes["sym_name"].value == function:
            return operation
    raise LookupError(f"it has no function '{function}'")


class _Reader:
    def __init__(self, path: Path, function: str) -> None:
        asset = authoring.AIModelAsset.load(path)
        self._program = asset.program
        # Those that layer norms call are private, and not among the names.
        names = asset.summary(include_statistics=False).function_names
        self._graph = graph_of(self._program, function or names[0])
        self._known: dict[Any, _Known] = {}
        self._found: list[Constant] = []
        self._taken: set[Any] = set()

    def read(self) -> list[Constant]:
        operations = list(self._graph.regions[0].blocks[0].operations)
        constants = [each for each in operations if each.name == _CONSTANT]
        halves = any(str(each.results[0].type.element_type) == "f16" for each in constants)
        for place, operation in enumerate(operations):
            if operation.name == _CONSTANT:
                known = _stored(operation, halves)
                if known is not None:
                    self._known[operation.results[0]] = known
            elif not self._fold(operation):
                self._collect(operation, place)
        return self._found

    def _fold(self, operation: Any) -> bool:
        """Whether an operation only lays constants out anew; what it makes is a constant then."""
        operands = list(operation.operands)
        if not operands or any(operand not in self._known for operand in operands):
            return False
        given = [self._known[operand] for operand in operands]
        values, rounding = given[0]
        rounding = np.broadcast_to(rounding, values.shape)
        if operation.name == "coreai.blockwise_shift_scale":
            made = _restored(*(known.values for known in given))
        elif operation.name == "coreai.transpose":
            order = given[1].values.tolist()
            made = _Known(values.transpose(order), rounding.transpose(order))
        elif operation.name == "coreai.reshape":
            sides = given[1].values.tolist()
            made = _Known(values.reshape(sides), rounding.reshape(sides))
        else:
            return False
        self._known[operation.results[0]] = made
        return True

    def _collect(self, operation: Any, place: int) -> None:
        for position, operand in enumerate(operation.operands):
            known = self._known.get(operand)
            if known is None or known.values.dtype.kind != "f" or operand in self._taken:
                continue
            self._taken.add(operand)
            self._found.append(
                Constant(
                    f"constant {len(self._found)}",
                    known.values.astype(np.float32),
                    known.rounding.astype(np.float32),
                    place,
                    reader=f"{operation.name} {position}",
                )
            )


def _restored(
    whole: np.ndarray, scale: np.ndarray, offset: np.ndarray, shift: np.ndarray
) -> _Known:
    """Weights of integers: each side of the scales may be a part of the integers'."""
    for axis, (side, scales) in enumerate(zip(whole.shape, scale.shape, strict=True)):
        if scales > 1:
            scale, offset, shift = (
                each.repeat(side // scales, axis) for each in (scale, offset, shift)
            )
    values = ((whole.astype(np.float32) - offset) * scale + shift).astype(np.float32)
    # Half a step, more by what float16 makes of the quotient, and the weight's own rounding: it may
    # have been as much larger, where float16 is coarser.
    error = (0.5 + _QUOTIENT) * scale.astype(np.float32)
    largest = np.abs(values) + error
    return _Known(values, error + (half_ulp(largest) if scale.dtype == np.float16 else 0))


def _stored(operation: Any, halves: bool) -> _Known | None:
    """A constant as the file holds it; None of a type that NumPy does not have.

    Args:
        operation: that gives it.
        halves: whether float32 may have been float16 before, which is seen in the values.
    """
    kind = operation.results[0].type
    dtype = _DTYPES.get(str(kind.element_type))
    if dtype is None:
        return None
    shape = tuple(kind.shape)
    values = np.zeros(math.prod(shape), dtype)
    _bindings.compiler.copy_constant_value_to_array(
        constant_op=operation, destination=values.view(np.uint8)
    )
    values = values.reshape(shape)
    with np.errstate(over="ignore", invalid="ignore"):
        # Norms in float32, of parameters that were made float16 with all others before.
        rounded = halves and np.array_equal(values, values.astype(np.float16))
    if values.dtype == np.float16 or (values.dtype == np.float32 and rounded):
        return _Known(values, half_ulp(values))
    return _Known(values, np.zeros((1,) * len(shape), np.float32))
