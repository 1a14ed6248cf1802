"""Fixtures shared by every test."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from conftest import REPOSITORY, THREADS
from mobilesam.emulators import emulator
from mobilesam.errors import MissingDependencyError
from mobilesam.runtimes import runner_class
from mobilesam.runtimes.bundle import Bundle
from tests import tiny_bundles


def require_runtime(runtime: str) -> None:
    """Skip where this machine lacks a runtime or what it runs on; the reason says how to get it."""
    if reason := _lacking(runtime):
        pytest.skip(reason)


def require_emulator(name: str) -> None:
    """Skip where what stands in for hardware is not set up; the reason says how to get it."""
    if reason := emulator(name).missing():
        pytest.skip(reason)


def is_here(runtime: str) -> bool:
    """Whether this machine has a runtime and what it runs on."""
    return not _lacking(runtime)


def _lacking(runtime: str) -> str:
    try:
        runner_class(runtime).require()
    except MissingDependencyError as error:
        return str(error)
    return ""


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> None:
    """Tests share small machines; more threads only contend."""
    torch.set_num_threads(min(THREADS, torch.get_num_threads()))


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Photos with human-made masks, beside some checkouts; skips where there are none."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the photos of {folder}, which this machine does not have")
    return folder


@pytest.fixture(scope="session")
def tiny_bundle() -> Callable[..., Bundle]:
    """``tiny_bundle(target, scheme)``: see :func:`tests.tiny_bundles.tiny_bundle`."""
    return tiny_bundles.tiny_bundle


@pytest.fixture(scope="session")
def upstream() -> nn.Module:
    """Upstream's Sam, eval mode, every parameter and buffer randomized from seed 0."""
    from tests.upstream.oracle import build_upstream

    return build_upstream(seed=0)
