"""PyTorch's checkpoint files, zip or legacy, and plain pickles, read without executing anything.

Of what a pickle names, only tensors, their dtypes and plain containers become what they are. Every
other class or function becomes a :class:`StandIn` that keeps what it was given and does nothing, so
that a file with a NumPy scalar, a path or a class of somebody's own beside the tensors can be read
where those classes are not installed. Nothing that a file names is imported.

``torch.load`` is not used: with ``weights_only`` it refuses such files, and without it, even given
this unpickler, it would extract tar files and write patches of source code.

The formats are those of ``torch.serialization``: in a zip file, ``data.pkl`` refers to one file for
each storage; a legacy file is five pickles (magic number, version, system, the object, the keys of
its storages), then each storage's length as int64 and its bytes.
"""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

MAGIC = 0x1950A86A20F9469CFC6C
"""What a legacy file begins with."""

_EXECUTES: dict[str, tuple[str, ...] | None] = {
    **dict.fromkeys(
        ("os", "posix", "nt", "subprocess", "sys", "pty", "shutil", "socket", "runpy", "importlib",
         "code", "codeop", "commands", "ctypes", "webbrowser", "marshal", "pickle", "_pickle",
         "timeit", "pdb", "bdb", "pip", "requests", "smtplib", "ftplib")
    ),
    **dict.fromkeys(
        ("builtins", "__builtin__"),
        ("eval", "exec", "execfile", "compile", "__import__", "open", "input", "breakpoint"),
    ),
    **dict.fromkeys(("io", "_io"), ("open", "open_code", "FileIO")),
    "torch": ("load", "hub"),
    "numpy": ("load", "runstring"),
    "pandas": ("read_pickle", "eval"),
}  # fmt: skip
"""Modules, and names in them (None: all), that no honest checkpoint asks for.

Naming them would do nothing here; a file that does is refused because of what it is.
"""

_STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
}


class ExecutesCodeError(pickle.UnpicklingError):
    """The pickle asks for something that runs code; the message is its name."""


class StandIn:
    """Any object but a tensor: what it was made of, kept as data.

    Attributes:
        arguments: that it would have been constructed with.
        state: that it would have been given, usually its attributes by name.
        items: what would have been put into it, if it is a kind of dict.
        elements: what would have been put into it, if it is a kind of list or set.
    """

    full_name = "an object"

    def __new__(cls, *arguments: Any, **named: Any) -> "StandIn":
        made = super().__new__(cls)
        made.arguments = arguments
        made.state = named or None
        made.items = {}
        made.elements = []
        return made

    arguments: tuple[Any, ...]
    state: Any
    items: dict[Any, Any]
    elements: list[Any]

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *arguments: Any, **named: Any) -> "StandIn":
        return StandIn(self, *arguments, **named)

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def append(self, value: Any) -> None:
        """Keep an element."""
        self.elements.append(value)

    add = append

    def extend(self, values: Any) -> None:
        """Keep several elements."""
        self.elements.extend(values)

    def parts(self) -> dict[Any, Any] | None:
        """Everything within by name, None where there is nothing.

        Of a pickled PyTorch module, which may be empty, what its state dict would be.
        """
        states = self.state if isinstance(self.state, tuple) else (self.state,)
        found: dict[Any, Any] = dict(enumerate((*self.arguments, *self.elements)))
        for state in states:
            if isinstance(state, Mapping):
                found |= state
        own = [found[name] for name in ("_parameters", "_buffers", "_modules") if name in found]
        if own and all(isinstance(inner, Mapping) for inner in own):
            return {name: value for inner in own for name, value in inner.items()}
        return found | self.items or None


def read_pickled(path: Path) -> Any:
    """What a legacy PyTorch file, or a plain pickle, holds.

    Raises:
        ExecutesCodeError: it asks for code to be run.
        Exception: it is cut off or damaged; readers of pickles fail in many ways.
    """
    with path.open("rb") as file:
        return _read_sequence(file, path.stat().st_size)


def read_zipped(path: Path) -> Any:
    """What PyTorch's zip file holds.

    Raises:
        ExecutesCodeError, Exception: as of :func:`read_pickled`.
    """
    with zipfile.ZipFile(path) as archive:
        return _read_archive(archive)


def _read_archive(archive: zipfile.ZipFile) -> Any:
    (index,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
    root = index.removesuffix("data.pkl")
    swapped = f"{root}byteorder" in archive.namelist() and b"big" in archive.read(
        f"{root}byteorder"
    )
    storages: dict[str, Tensor] = {}

    def storage(kind: str, dtype: torch.dtype, key: Any, _where: Any, count: int) -> Tensor:
        if key not in storages:
            storages[key] = _flat(archive.read(f"{root}data/{key}"), dtype, swapped=swapped)
        if storages[key].numel() < count:
            raise pickle.UnpicklingError(f"storage {key} is too short")
        return storages[key]

    return _Unpickler(io.BytesIO(archive.read(index)), storage).load()


def _read_sequence(file: BinaryIO, size: int) -> Any:
    first = _Unpickler(file).load()
    if first != MAGIC:
        return first
    _version = _Unpickler(file).load()
    system = _Unpickler(file).load()
    swapped = isinstance(system, dict) and system.get("little_endian") is False
    storages: dict[str, Tensor] = {}

    def storage(
        kind: str, dtype: torch.dtype, key: Any, _where: Any, count: int, view: Any = None
    ) -> Tensor:
        if count * dtype.itemsize > size:
            raise pickle.UnpicklingError(f"storage {key} is larger than the file")
        # Its bytes follow after the last pickle, and are filled in then.
        whole = storages.setdefault(key, torch.zeros(count, dtype=dtype))
        return whole if view is None else whole[view[1] : view[1] + view[2]]

    content = _Unpickler(file, storage).load()
    for key in _Unpickler(file).load():
        whole = storages[key]
        (count,) = struct.unpack(">q" if swapped else "<q", file.read(8))
        if count != whole.numel():
            raise pickle.UnpicklingError(f"storage {key} is of another length than was said")
        whole.copy_(_flat(file.read(count * whole.itemsize), whole.dtype, swapped=swapped))
    return content


def _flat(data: bytes, dtype: torch.dtype, *, swapped: bool) -> Tensor:
    """Bytes as a one-dimensional tensor."""
    if len(data) % dtype.itemsize:
        raise pickle.UnpicklingError("a storage is cut off")
    if not data:
        return torch.zeros(0, dtype=dtype)
    if swapped and dtype.itemsize > 1:
        data = np.frombuffer(data, f"u{dtype.itemsize}").byteswap().tobytes()
    return torch.frombuffer(bytearray(data), dtype=dtype)


def _rebuilt(storage: Tensor, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
    """A tensor within a storage; torch checks that it lies inside."""
    return torch.as_strided(storage, tuple(size), tuple(stride), offset)


def _rebuilt_as(
    storage: Tensor, offset: int, size: Any, stride: Any, _grad: Any, _hooks: Any,
    dtype: torch.dtype, *_: Any,
) -> Tensor:  # fmt: skip
    return _rebuilt(storage.view(dtype), offset, size, stride)


def _first(value: Any, *_: Any) -> Any:
    """A parameter is its tensor."""
    return value


def _of_subclass(rebuild: Any, _kind: Any, arguments: tuple[Any, ...], *_: Any) -> Any:
    return rebuild(*arguments)


def _nested(data: bytes) -> Any:
    """A storage in a plain pickle, which holds it as a file of PyTorch's within."""
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _read_archive(archive)
    return _read_sequence(io.BytesIO(data), len(data))


_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): torch.Size,
    ("torch._utils", "_rebuild_tensor"): _rebuilt,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuilt,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuilt_as,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch._utils", "_rebuild_parameter_with_state"): _first,
    ("torch._tensor", "_rebuild_from_type_v2"): _of_subclass,
    ("torch.storage", "_load_from_bytes"): _nested,
}


class _Unpickler(pickle.Unpickler):
    """Makes tensors and containers, and stand-ins of all else.

    Args:
        file: at the beginning of a pickle.
        storage: called with what a pickle says of a storage: its class, dtype, key, device and
            number of elements.
    """

    def __init__(self, file: BinaryIO, storage: Callable[..., Tensor] | None = None) -> None:
        super().__init__(file, encoding="latin1")
        self._storage = storage
        self._made: dict[tuple[str, str], type[StandIn]] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a class or function that the pickle names."""
        known = _KNOWN.get((module, name))
        if known is not None:
            return known
        if module.partition(".")[0] == "torch":
            dtype = vars(torch).get(name) if module == "torch" else None
            if isinstance(dtype, torch.dtype):
                return dtype
            if name in _STORAGES:
                return _STORAGES[name]
        names = _EXECUTES.get(module.partition(".")[0], ())
        if names is None or name.partition(".")[0] in names:
            raise ExecutesCodeError(f"{module}.{name}")
        if (module, name) not in self._made:
            made = type(StandIn.__name__, (StandIn,), {"full_name": f"{module}.{name}"})
            self._made[module, name] = made
        return self._made[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """What lies outside of the pickle: a storage, or a module with its source code."""
        kind, *rest = pid
        if kind == "module":
            return rest[0]
        dtype, *described = rest
        if self._storage is None or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError(f"{kind} cannot be read here")
        return self._storage(kind, dtype, *described)
