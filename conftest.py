"""What tests in several processes share (``pytest -n``): threads, and a folder of bundles."""

import os
from pathlib import Path

import pytest

IN_PARALLEL = "PYTEST_XDIST_WORKER" in os.environ

THREADS = 1 if IN_PARALLEL else 2
"""Threads of a test's runtimes: with a process on every core, more would only wait."""

REPOSITORY = Path(__file__).resolve().parent

CACHE = Path(os.environ.get("MOBILESAM_TEST_CACHE") or REPOSITORY / ".pytest_cache" / "bundles")
"""Where bundles that only tests read are kept, for every process and every later run.

A bundle says of which code, weights, options and tools it was made (``export_key``), and its files'
digests. An export into this folder finds it unchanged, or makes it again, and holds it with a lock
meanwhile, so that a change of a converter, or of a cached file, is never overlooked.
"""


def shared_folder(name: str) -> Path:
    """A folder of the cache; only exports write to it."""
    folder = CACHE / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


SLOW_FIXTURES = {"tiny_bundle", "exports", "programs", "encoder", "pair"}
"""What converts a model when first used, or runs one at full size."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what runs on real bundles, beside the tests that say so themselves."""
    for item in items:
        on_runtimes = item.path.is_relative_to(REPOSITORY / "mobile_runtime_tests")
        if on_runtimes or SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
