"""Qualcomm's HTP, the NPU of Snapdragon phones: its emulator is in the wheel ``onnxruntime-qnn``.

The wheel's licence forbids to pass its libraries on, so that nobody but the user can get them.
"""

import importlib.util
import platform
import sys
from pathlib import Path
from typing import NamedTuple

from mobilesam.errors import MissingDependencyError


class Chip(NamedTuple):
    """What files are compiled for.

    Attributes:
        name: by which LiteRT's compiler knows it.
        model: Qualcomm's number of it, ``soc_model``.
        architecture: of its HTP, ``htp_arch``.
    """

    name: str
    model: int
    architecture: int


CHIP = Chip("SM8750", model=69, architecture=79)
"""Snapdragon 8 Elite. Source: the list of supported devices of Qualcomm's AI Runtime SDK 2.51."""

_INSTALL = 'pip install "mobilesam-export[qualcomm]"'


def missing() -> str:
    """What is not there, and how to get it; empty where nothing is missing."""
    system = f"{sys.platform} {platform.machine()}"
    if system != "linux x86_64":
        return f"Qualcomm's HTP is emulated on Linux on x86-64 only, not on {system}"
    package = importlib.util.find_spec("onnxruntime_qnn")
    if package is None:
        return (
            "Qualcomm's libraries are not installed, and their licence lets nobody pass them on: "
            f"{_INSTALL}"
        )
    absent = [path.name for path in (backend(), *compiler_libraries()) if not path.is_file()]
    return f"the wheel onnxruntime-qnn lacks {absent[0]}: {_INSTALL}" if absent else ""


def set_up() -> None:
    """Check that everything is there; only the user can get it.

    Raises:
        MissingDependencyError: something is not; the message says what and how to get it.
    """
    lacking = missing()
    if lacking:
        raise MissingDependencyError(lacking)


def backend() -> Path:
    """The library that compiles for the HTP and emulates it; it need not exist."""
    return _folder() / "libQnnHtp.so"


def compiler_libraries() -> tuple[Path, ...]:
    """What LiteRT's compiler for the HTP loads."""
    names = ("libQnnHtp.so", "libQnnIr.so", "libQnnSaver.so", "libQnnSystem.so")
    return tuple(_folder() / name for name in names)


def _folder() -> Path:
    package = importlib.util.find_spec("onnxruntime_qnn")
    found = package.submodule_search_locations if package is not None else None
    return Path(next(iter(found or ()), "onnxruntime_qnn"))
