"""What tests in several processes share (``pytest -n 2 --dist loadfile``)."""

import os
from pathlib import Path

import pytest

IN_PARALLEL = "PYTEST_XDIST_WORKER" in os.environ

THREADS = 1 if IN_PARALLEL else 2
"""Threads of a test's runtimes: with a process on every core, more would only wait."""


def shared_folder(temporary: pytest.TempPathFactory, name: str) -> Path:
    """A folder that every process of this session sees.

    Exporting to it twice costs nothing: the second finds the bundle unchanged.
    """
    own = temporary.getbasetemp()
    folder = (own.parent if IN_PARALLEL else own) / name
    folder.mkdir(exist_ok=True)
    return folder
