"""What a script imports from ``parity``, and how it may name bundles."""

import subprocess
import sys
from pathlib import Path

import pytest

import parity
from mobilesam.errors import BundleError
from mobilesam.runtimes.bundle import Bundle
from parity.bundles import BundleSource, open_bundles
from tests.parity.fakes import demo_model, write_bundle


def test_the_functions_are_there_by_name_and_stay_functions() -> None:
    assert sorted(parity.__all__) == ["bisect", "compare", "evaluate"]
    for name in parity.__all__:
        for _ in range(2):  # importing a function's module must not put the module in its place
            function = getattr(parity, name)
            assert callable(function) and function.__name__ == name and function.__doc__
    with pytest.raises(AttributeError, match="no attribute 'compair'"):
        getattr(parity, "compair")  # noqa: B009 - as a script would, unchecked


NEED_SCIPY = (
    "parity.bisection.run",
    "parity.comparison",
    "parity.evaluation.evaluate",
    "parity.golden",
    "parity.mixed_precision.sensitivity",
    "parity.phones.run",
    "parity.release",
    "parity.replay.merge",
    "parity.replay.pack",
)
WITHOUT_SCIPY = """
import importlib, sys
from mobilesam.errors import MissingDependencyError
sys.modules["scipy"] = None
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except MissingDependencyError as error:
        print(name, error)
"""


def test_a_missing_library_is_one_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_SCIPY, *NEED_SCIPY],
        capture_output=True,
        text=True,
        check=True,
    )
    needed = 'comparing masks needs SciPy: pip install "mobilesam-export[report]"'
    assert done.stdout.splitlines() == [f"{name} {needed}" for name in NEED_SCIPY]


def test_bundles_are_named_alone_or_in_folders_as_paths_or_opened_and_each_counts_once(
    tmp_path: Path,
) -> None:
    exports = tmp_path / "exports"
    one, two = (write_bundle(exports / name, demo_model()) for name in ("one", "two"))
    (exports / ".hidden").mkdir()
    (exports / ".hidden" / "manifest.json").write_text("{}")
    several: list[list[BundleSource]] = [[exports], [str(exports)], [Bundle(one), two, exports]]
    assert [bundle.path for bundle in open_bundles(exports)] == [one, two]
    for given in several:
        assert [bundle.path for bundle in open_bundles(given)] == [one, two]
    opened = Bundle(two)
    assert open_bundles(opened) == [opened]
    with pytest.raises(BundleError, match="no bundle was given"):
        open_bundles([])
    with pytest.raises(BundleError, match="is not a bundle and holds none"):
        open_bundles(tmp_path)
    with pytest.raises(BundleError, match="is not a folder"):
        open_bundles(tmp_path / "nowhere")
    (one / "encoder.pt").unlink()
    with pytest.raises(BundleError, match=r"encoder\.pt' is missing"):
        open_bundles(one)
