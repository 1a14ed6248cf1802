"""Faults planted in saved Core ML packages: in the weights' file, or in an op of the program.

A package holds its large constants in ``weight.bin``, each found by the offset of a 64-byte record
in front of it, and its small ones in the program itself (MIL blob storage, as coremltools writes
it). Only what an op reads is changed, never a name: a fault is known by the op that reads it first.
"""

import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from coremltools.proto import Model_pb2

SPEC = Path("Data/com.apple.CoreML/model.mlmodel")
WEIGHTS = Path("Data/com.apple.CoreML/weights/weight.bin")
SENTINEL = 0xDEADBEEF
DTYPES: dict[int, np.dtype[Any]] = {10: np.dtype(np.float16), 11: np.dtype(np.float32)}
"""By the number of the dtype in the program."""


class Package:
    """A package to be edited, and saved elsewhere.

    Attributes:
        operations: of its one function, in order, constants among them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spec = Model_pb2.Model.FromString((path / SPEC).read_bytes())
        self.weights = bytearray((path / WEIGHTS).read_bytes())
        (function,) = self.spec.mlProgram.functions.values()
        (block,) = function.block_specializations.values()
        self.operations = block.operations
        self.constants = {op.outputs[0].name: op for op in self.operations if op.type == "const"}

    def computing(self) -> list[Any]:
        """The ops that are no constants."""
        return [op for op in self.operations if op.type != "const"]

    def first_reader(self, constant: str) -> str:
        """Name of the value of the first op that reads a constant."""
        return next(
            op.outputs[0].name
            for op in self.computing()
            if constant in (a.name for given in op.inputs.values() for a in given.arguments)
        )

    def argument(self, op: Any, parameter: str) -> Any:
        """The constant op that gives a parameter its value; None if it is not given by one."""
        bound = op.inputs[parameter].arguments if parameter in op.inputs else []
        return self.constants.get(bound[0].name) if bound else None

    def blob(self, constant: Any) -> np.ndarray | None:
        """Values of a large float constant, a view of the weights' file; None of other ones."""
        value = constant.attributes["val"]
        if value.WhichOneof("value") != "blobFileValue":
            return None
        dtype = DTYPES.get(value.type.tensorType.dataType)
        if dtype is None:
            return None
        sentinel, _, size, start = struct.unpack_from(
            "<IIQQ", self.weights, value.blobFileValue.offset
        )
        assert sentinel == SENTINEL, f"{self.path} has no record of a constant where it says"
        return np.frombuffer(self.weights, dtype, size // dtype.itemsize, start).reshape(
            [d.constant.size for d in value.type.tensorType.dimensions]
        )

    def array(self, value: Any) -> np.ndarray | None:
        """A large constant of any dtype, a view of the weights' file; bytes if it is not float."""
        if value.WhichOneof("value") != "blobFileValue":
            return None
        _, _, size, start = struct.unpack_from("<IIQQ", self.weights, value.blobFileValue.offset)
        dtype = DTYPES.get(value.type.tensorType.dataType, np.dtype(np.uint8))
        flat: np.ndarray = np.frombuffer(self.weights, dtype, size // dtype.itemsize, start)
        sides = [d.constant.size for d in value.type.tensorType.dimensions]
        return flat.reshape(sides) if np.prod(sides, dtype=np.int64) == flat.size else flat

    def save(self, path: Path) -> Path:
        """Write the edited package."""
        shutil.copytree(self.path, path)
        self.overwrite(path)
        return path

    def overwrite(self, path: Path | None = None) -> None:
        """Write the edited package over the one that was read, or over another."""
        folder = path or self.path
        (folder / SPEC).write_bytes(self.spec.SerializeToString())
        (folder / WEIGHTS).write_bytes(bytes(self.weights))


@dataclass(frozen=True)
class Fault:
    """A fault to be planted in a fresh :class:`Package`.

    Attributes:
        kind: in words.
        op: name of the value of the op that is then wrong.
        plant: changes the package.
    """

    kind: str
    op: str
    plant: Callable[[Package], None]


def weight_faults(package: Package, half: bool) -> Iterator[Fault]:
    """For each large constant a fault, of the kinds in turn."""
    kinds = ["channel times 1.5", "1 % of signs flipped"]
    kinds += ["one value saturated to 65504", "one value infinite"] if half else []
    named = [
        name
        for name, constant in package.constants.items()
        if (values := package.blob(constant)) is not None and np.any(values)
    ]
    for turn, name in enumerate(named):
        kind = kinds[turn % len(kinds)]
        yield Fault(kind, package.first_reader(name), _changing(name, kind, turn))


def _changing(name: str, kind: str, seed: int) -> Callable[[Package], None]:
    def plant(package: Package) -> None:
        values = package.blob(package.constants[name])
        assert values is not None
        generator = np.random.default_rng(seed)
        if kind.startswith("channel"):
            values[generator.integers(len(values))] *= 1.5
            return
        flat = values.reshape(-1)
        # Of what is not zero: the sign of a zero is no fault.
        chosen = generator.permutation(np.flatnonzero(flat))
        if kind.startswith("1 %"):
            flat[chosen[: max(1, len(flat) // 100)]] *= -1
        else:
            flat[chosen[0]] = 65504 if "65504" in kind else np.inf

    return plant


def _set_text(value: Any, text: str) -> None:
    value.immediateValue.tensor.strings.values[:] = [text]


def _numbers(value: Any) -> Any:
    """The repeated field that holds a small constant's numbers, or its bytes."""
    tensor = value.immediateValue.tensor
    return getattr(tensor, tensor.WhichOneof("value"))


def edit_numbers(value: Any, change: Callable[[list[float]], list[float]]) -> None:
    stored = _numbers(value)
    if hasattr(stored, "values") and not isinstance(stored.values, bytes):
        stored.values[:] = change(list(stored.values))
        return
    # float16 is kept as bytes.
    array = np.frombuffer(stored.values, np.float16)
    stored.values = np.array(change(array.tolist()), np.float16).tobytes()


Change = Callable[[list[float]], list[float]]

EDITS: dict[tuple[str, str], str | Change] = {
    ("gelu", "mode"): "SIGMOID_APPROXIMATION",
    ("layer_norm", "epsilon"): lambda v: [0.3],
    ("batch_norm", "epsilon"): lambda v: [0.3],
    ("softmax", "axis"): lambda v: [-2],
    ("conv", "pad"): lambda v: [v[0] + 1, v[1] - 1, *v[2:]],
    ("conv", "strides"): lambda v: v[::-1],
    ("conv_transpose", "pad"): lambda v: [v[0] + 1, v[1] + 1, *v[2:]],
    ("transpose", "perm"): lambda v: [*v[:-2], v[-1], v[-2]],
    ("slice_by_index", "begin"): lambda v: [x + 1 for x in v],
    ("matmul", "transpose_x"): lambda v: [not v[0]],
    ("matmul", "transpose_y"): lambda v: [not v[0]],
    ("reduce_mean", "axes"): lambda v: [v[0] + 1],
    ("concat", "interleave"): lambda v: [True],
    ("concat", "axis"): lambda v: [v[0] + 1],
    ("pad", "constant_val"): lambda v: [0.5],
    ("pad", "mode"): "reflect",
    ("mul", "y"): lambda v: [x * 1.1 for x in v],
    ("add", "y"): lambda v: [x + 0.1 for x in v],
    ("sub", "y"): lambda v: [x + 0.1 for x in v],
    ("sub", "x"): lambda v: [x + 0.1 for x in v],
    ("pow", "y"): lambda v: [3.0],
    ("split", "axis"): lambda v: [v[0] - 1],
    ("clip", "beta"): lambda v: [0.5],
    ("reshape", "shape"): lambda v: [*v[:-2], v[-1], v[-2]],
    ("real_div", "y"): lambda v: [x * 1.1 for x in v],
    ("tile", "reps"): lambda v: v[::-1],
    ("greater", "y"): lambda v: [1e4],
    ("conv", "dilations"): lambda v: [2 for _ in v],
}
"""By op type and parameter: another text, or other numbers. Not every edit fits every shape."""


def attribute_faults(package: Package) -> Iterator[Fault]:
    """Every edit of :data:`EDITS` of every op that has such a parameter, in the program's order."""
    for op in package.computing():
        for (op_type, parameter), change in EDITS.items():
            if op.type != op_type:
                continue
            constant = package.argument(op, parameter)
            if constant is None or package.blob(constant) is not None:
                continue
            if constant.attributes["val"].WhichOneof("value") != "immediateValue":
                continue
            name = constant.outputs[0].name
            if package.first_reader(name) != op.outputs[0].name:
                continue
            yield Fault(f"{op_type} {parameter}", op.outputs[0].name, _editing(name, change))


def _editing(name: str, change: str | Change) -> Callable[[Package], None]:
    def plant(package: Package) -> None:
        value = package.constants[name].attributes["val"]
        if isinstance(change, str):
            _set_text(value, change)
        else:
            edit_numbers(value, change)

    return plant
