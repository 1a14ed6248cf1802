"""Where a file of any format stores a tensor of the model: arrays that can be written through.

The weight audit tells which constant holds a tensor; this finds its bytes in the file.
"""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mobile_runtime_tests.faults import seal
from mobile_runtime_tests.planting import Package, edit_numbers
from mobilesam.bundle.contract import Component
from mobilesam.model.sam import MobileSAM
from mobilesam.runtimes.bundle import Bundle
from parity.weight_audit.constants import Constant
from parity.weight_audit.expected import expected
from parity.weight_audit.matching import Found, match
from parity.weight_audit.run import read_file


@dataclass
class Stored:
    """A constant in a file; writing to the arrays writes to the file once it is saved.

    Attributes:
        data: as the file has it: floats, or whole numbers that are multiples of a scale, or packed
            indices into a palette.
        step: the scale of each channel or block, or the palette; None where ``data`` is float.
    """

    data: np.ndarray
    step: np.ndarray | None = None


def constants_of(bundle: Bundle, model: MobileSAM, component: Component) -> dict[str, Found]:
    """Which constant of a component's file holds which part of the model, by the part's name."""
    given = read_file(bundle, bundle.runtimes[0], component)
    return match(expected(model, component).units, given)[1]


class OpenedFile:
    """The bytes of a file, of the members of an archive, or of an Apple package's program."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._program = path / "main.mlirb" if path.suffix == ".aimodel" else path
        self._package = Package(path) if self._program.is_dir() else None
        self._members: dict[str, bytearray] = {}
        self._small: list[tuple[Any, np.ndarray]] = []
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                self._members = {i.filename: bytearray(archive.read(i)) for i in archive.infolist()}
        elif self._package is None:
            self._members = {"": bytearray(self._program.read_bytes())}

    def save(self) -> None:
        """Write everything back in place."""
        if self._package is not None:
            for value, numbers in self._small:
                edit_numbers(value, partial(_replaced, numbers))
            self._package.overwrite()
        elif "" in self._members:
            self._program.write_bytes(self._members[""])
            seal(self.path)
        else:
            out = io.BytesIO()
            with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
                for name, content in self._members.items():
                    archive.writestr(name, bytes(content))
            self.path.write_bytes(out.getvalue())

    def find(self, constant: Constant) -> Stored:
        """Where a constant lies.

        Raises:
            LookupError: its bytes are not in the file as they are.
        """
        if self._package is not None:
            return self._in_package(self._package, constant)
        values = np.asarray(constant.values)
        step = 2 * np.broadcast_to(constant.rounding, values.shape).astype(np.float64)
        for order in {tuple(range(values.ndim)), tuple(range(values.ndim))[::-1]}:
            found = self._in_order(values.transpose(order), step.transpose(order))
            if found is not None:
                return found
        raise LookupError(f"{self.path.name} does not hold {constant.name} as it is")

    def find_array(self, values: np.ndarray) -> Stored:
        """Where an array of the model itself lies, in float32 or float16."""
        for dtype in (np.float32, np.float16):
            data = self._view(values.astype(dtype))
            if data is not None:
                return Stored(data)
        raise LookupError(f"{self.path.name} does not hold it as it is")

    def _in_order(self, values: np.ndarray, step: np.ndarray) -> Stored | None:
        for dtype in (np.float32, np.float16):
            data = self._view(values.astype(dtype))
            if data is not None:
                return Stored(data)
        if not np.all(step > 0):
            return None
        multiples = np.rint(values / step)
        for whole in _whole(multiples):
            data = self._view(whole)
            if data is not None:
                return Stored(data, self._scale(step))
        return None

    def _scale(self, step: np.ndarray) -> np.ndarray | None:
        """The scales: one, one for each index of an axis, or one for each block of the last."""
        shapes = [step.reshape(-1)[:1]]
        for axis in range(step.ndim):
            rows = np.moveaxis(step, axis, 0).reshape(step.shape[axis], -1)
            if np.all(rows == rows[:, :1]):
                shapes.insert(0, rows[:, 0])
        if len(shapes) == 1 and step.shape[-1] % 32 == 0:
            shapes.insert(0, step[..., ::32].reshape(-1))
        for scale in shapes:
            for dtype in (np.float32, np.float16, np.float64):
                found = self._view(scale.astype(dtype)) if scale.size > 1 else None
                if found is not None:
                    return found
        return None

    def _in_package(self, package: Package, constant: Constant) -> Stored:
        """The arrays of a constant, or of the op that decompresses it."""
        operation = next(op for op in package.operations if op.outputs[0].name == constant.name)
        held: dict[str, Any] = dict(operation.attributes)
        for parameter, given in operation.inputs.items():
            source = package.constants.get(given.arguments[0].name)
            if source is not None:
                held[parameter] = source.attributes["val"]
        data, step = (
            next((package.array(held[key]) for key in keys if key in held), None)
            for keys in (_DATA, _STEPS)
        )
        if data is None and "val" in held:
            data = constant.values.copy()
            self._small.append((held["val"], data))
        if data is None:
            raise LookupError(f"{constant.name} is no constant of {self.path.name}")
        return Stored(data, step)

    def _view(self, wanted: np.ndarray) -> np.ndarray | None:
        """The first place of an array's bytes, as an array of its shape that can be written."""
        content = np.ascontiguousarray(wanted).tobytes()
        for member in self._members.values():
            start = member.find(content)
            if start >= 0:
                flat: np.ndarray = np.frombuffer(member, wanted.dtype, wanted.size, start)
                return flat.reshape(wanted.shape)
        return None


def _replaced(numbers: np.ndarray, _: list[float]) -> list[float]:
    made: list[float] = numbers.reshape(-1).tolist()
    return made


def _whole(multiples: np.ndarray) -> Iterator[np.ndarray]:
    """Whole numbers as files store them."""
    largest = np.abs(multiples).max()
    if largest <= 8 and multiples.size % 2 == 0:
        low, high = (multiples.reshape(-1)[i::2].astype(np.int8).view(np.uint8) for i in (0, 1))
        yield (low & 15) | (high << 4)
    if largest <= 128:
        yield multiples.clip(-128, 127).astype(np.int8)
        yield (multiples + 128).clip(0, 255).astype(np.uint8)
    yield multiples.astype(np.int32)
    yield multiples.astype(np.int64)


_STEPS = ("lut", "scale")
_DATA = ("val", "indices", "quantized_data", "data")
