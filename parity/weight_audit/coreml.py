"""Constants of a Core ML program, decompressed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from coreml_evaluator.errors import ProgramError
from coreml_evaluator.ops import OPS
from coreml_evaluator.reading import quiet, read_function
from mobilesam.errors import BundleError
from parity.weight_audit.constants import Constant, half_ulp

COMPRESSED = "constexpr_"
"""Begins the type of an op that decompresses a constant."""

DETOUR = 0.125
"""Steps by which a rounded weight may be off besides: coremltools divides by the scale in float16,
and rounds the scale to it, which at 127 steps is a sixteenth of a step and half as much again."""


class _Known(NamedTuple):
    """A constant, the largest error of its storage, and the ends of its palette if it has one."""

    values: np.ndarray
    rounding: np.ndarray
    outermost: np.ndarray | None = None


def read_constants(path: Path, function: str | None = None) -> list[Constant]:
    """The floating-point constants that a program's ops compute with.

    Args:
        path: an ``.mlpackage``.
        function: name of the function in a package that has several.

    Raises:
        BundleError: the package cannot be read.
    """
    try:
        program = read_function(path, function or None, OPS).function
        with quiet():
            return _constants(program)
    except ProgramError:
        raise
    except Exception as error:  # of a damaged weights' file coremltools raises many types
        raise BundleError(
            f"the constants of {path} cannot be read ({error}), export the bundle again"
        ) from error


def _constants(program: Any) -> list[Constant]:
    found: list[Constant] = []
    taken: set[int] = set()
    operations = [op for op in program.operations if op.op_type != "const"]
    for place, operation in enumerate(operations):
        if operation.op_type.startswith(COMPRESSED):
            continue
        label = operation.outputs[0].name if operation.outputs else ""
        for parameter, given in operation.inputs.items():
            for var in given if isinstance(given, list | tuple) else [given]:
                known = None if var is None or id(var) in taken else _known(var)
                if known is not None:
                    taken.add(id(var))
                    values = known.values.astype(np.float32)
                    found.append(
                        Constant(
                            var.name,
                            values,
                            known.rounding,
                            place,
                            label,
                            known.outermost,
                            reader=f"{operation.op_type} {parameter}{_turned(operation)}",
                        )
                    )
    return found


def _turned(operation: Any) -> str:
    """Which inputs a product reads transposed."""
    turns = (operation.inputs.get(name) for name in ("transpose_x", "transpose_y"))
    return "".join(f" {bool(_value(turn))}" for turn in turns if turn is not None)


def _known(var: Any) -> _Known | None:
    """A variable's value if it is a floating-point constant."""
    operation = var.op
    if operation is None:
        return None
    if operation.op_type in _DECOMPRESSED:
        values = np.asarray(operation.materialized_val_inference())
        inputs = {name: _value(given) for name, given in operation.inputs.items() if given}
        return _DECOMPRESSED[operation.op_type](values, inputs)
    if operation.op_type.startswith(COMPRESSED):
        raise BundleError(
            f"it has a constant compressed by '{operation.op_type}', which is not known"
        )
    if operation.op_type != "const":
        return None
    values = np.asarray(var.val)
    if values.dtype.kind != "f":
        return None
    return _Known(values, half_ulp(values) if values.dtype == np.float16 else np.zeros(1))


def _value(var: Any) -> np.ndarray:
    return np.asarray(var.val)


def _affine(values: np.ndarray, inputs: dict[str, np.ndarray]) -> _Known:
    """Integers with a scale and a zero point for each index of one axis: iOS 16."""
    axis, scale = int(inputs["axis"]), inputs["scale"].astype(np.float32)
    if scale.ndim:
        scale = scale.reshape([-1 if i == axis else 1 for i in range(values.ndim)])
    return _Known(values, _step(values, scale))


def _blocks(values: np.ndarray, inputs: dict[str, np.ndarray]) -> _Known:
    """Integers with a scale for each block: iOS 18."""
    scale = inputs["scale"].astype(np.float32)
    for axis, side in enumerate(values.shape):
        scale = np.repeat(scale, side // scale.shape[axis], axis)
    return _Known(values, _step(values, scale))


def _step(values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Half a step, and what float16 adds: of the scale, the weight before and the product after."""
    size = np.abs(scale)

    return np.asarray(size * (0.5 + DETOUR) + 2 * half_ulp(values), np.float32)


def _palette(values: np.ndarray, inputs: dict[str, np.ndarray]) -> _Known:
    """Entries of palettes of one value each.

    In iOS 16 there is one for the tensor; in iOS 18 ``lut`` has an axis for each of the tensor's,
    as long as there are palettes along it, then the entries, then the length of a vector.
    """
    table = inputs["lut"].astype(np.float32)
    if table.ndim == 1:
        table = table.reshape(*[1] * values.ndim, -1, 1)
    if table.shape[-1] != 1:
        raise BundleError("it has a palette of vectors, which is not known")
    rounding = np.zeros(values.shape, np.float32)
    outermost = np.zeros(values.shape, np.int8)
    for index in np.ndindex(table.shape[: values.ndim]):
        part = tuple(
            slice(i * side // count, (i + 1) * side // count)
            for i, side, count in zip(index, values.shape, table.shape, strict=False)
        )
        entries = np.unique(table[index])
        own = values[part].astype(np.float32)
        places = np.searchsorted(entries, own)
        # A value belongs to the nearest entry, so that an entry reaches halfway to its neighbours.
        gaps = np.diff(entries) / 2
        # The table is in float16 and its cuts lie between rounded entries.
        reach = np.concatenate([gaps[:1], np.maximum(gaps[1:], gaps[:-1]), gaps[-1:]])
        reach = reach if len(entries) > 1 else np.zeros(1, np.float32)
        rounding[part] = reach[places] + 2 * half_ulp(own)
        if len(entries) > 1:
            outermost[part] = np.where(places == 0, -1, np.where(places == len(entries) - 1, 1, 0))
    return _Known(values, rounding, outermost)


_DECOMPRESSED: dict[str, Callable[[np.ndarray, dict[str, np.ndarray]], _Known]] = {
    "constexpr_affine_dequantize": _affine,
    "constexpr_blockwise_shift_scale": _blocks,
    "constexpr_lut_to_dense": _palette,
}
