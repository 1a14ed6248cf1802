"""Fixtures shared by the tests of parity."""

from collections.abc import Callable
from functools import lru_cache

import pytest

from mobilesam.runtimes.bundle import Bundle
from tests.live_bundles import live_bundle

BundleOf = Callable[..., Bundle]


@pytest.fixture(scope="session")
def bundle_of(tmp_path_factory: pytest.TempPathFactory) -> BundleOf:
    """``bundle_of(target, scheme)``: a small bundle, exported on first use; treat as read-only."""
    return lru_cache(lambda target, scheme="fp32": live_bundle(tmp_path_factory, target, scheme))
