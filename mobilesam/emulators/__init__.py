"""What stands in for a phone and its maker's tools on this machine: a module for each, and a table.

Each module has two functions. ``missing()`` says in one sentence what is not there and how to get
it, and is empty where nothing is missing; it imports nothing heavy. ``set_up()`` gets what can be
had without administrator's rights, into :func:`folder`.
"""

import importlib
from pathlib import Path
from typing import Protocol

from mobilesam.weights.download import cache_folder

EMULATORS: dict[str, str] = {
    "arm64": "ARM cores of phones, by qemu",
    "lavapipe": "a GPU, by Mesa's Vulkan driver for CPUs",
    "htp": "Qualcomm's HTP, the NPU of Snapdragon phones",
    "kotlin": "Kotlin and Java, in which Android apps are written",
    "swift": "Swift, in which iOS apps are written",
}
"""Name of each module, and what it stands in for, in words for a user."""


class Emulator(Protocol):
    """What a module of this package offers."""

    def missing(self) -> str:
        """What is not there, and how to get it; empty where nothing is missing."""

    def set_up(self) -> None:
        """Get what can be had here.

        Raises:
            MissingDependencyError: something cannot be had; the message says what and why.
        """


def emulator(name: str) -> Emulator:
    """The module of an emulator, a key of :data:`EMULATORS`."""
    module: Emulator = importlib.import_module(f"{__name__}.{name}")
    return module


def folder(name: str) -> Path:
    """Where an emulator's files are kept; it need not exist."""
    return cache_folder() / "emulators" / name
