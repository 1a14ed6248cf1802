"""How tests are shared between processes: those that share exported files stay together."""

import os
from pathlib import Path

import pytest

THREADS = 1 if "PYTEST_XDIST_WORKER" in os.environ else 2
"""Threads of a test's runtimes: with a process on every core, more would only wait."""

SHARED = {
    "mobile_runtime_tests/test_faults.py": "small bundles",
    "mobile_runtime_tests/test_measuring.py": "small bundles",
    "mobile_runtime_tests/test_no_false_alarm.py": "small bundles",
    "tests/parity/test_coreml_evaluator.py": "live bundles",
    "tests/parity/test_runners.py": "live bundles",
}
"""Files whose tests use the same session fixtures; every other file stands alone."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give each test the group that ``pytest -n 2 --dist loadgroup`` keeps in one process."""
    file = item.path.relative_to(Path(__file__).parent).as_posix()
    item.add_marker(pytest.mark.xdist_group(SHARED.get(file, file)))
