"""What is right passes: every bundle, other weights, both input variants, several K."""

from collections.abc import Callable
from pathlib import Path

import pytest

from converters.lookup import combinations
from mobile_runtime_tests.helpers import FLOAT, OTHERS, Judge
from mobilesam.runtimes.bundle import Bundle
from parity.schema import BundleReport


def _show(report: BundleReport) -> None:
    measured = {f"{c.stage} {c.metric}": c for c in report.checks if c.stage != "integrity"}
    print(f"\n{report.bundle} on {report.runtime} ({report.engine}): {report.verdict}")
    for name, check in measured.items():
        print(f"  {name:32} {check.value:.3g} {check.comparison} {check.threshold:g}")


SLOW = ("coreai-fp16",)
"""An encoder of it takes minutes at this size; it is judged by hand, see docs/phones.md."""

NAMES = [f"{target}-{scheme}" for target, scheme in combinations() if scheme in FLOAT]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SLOW])
def test_every_bundle_passes_on_every_runtime(
    bundles: dict[str, Path], judge: Judge, name: str
) -> None:
    if name not in bundles:
        pytest.skip(f"the converter of {name} is not installed")
    for runtime in Bundle(bundles[name]).runtimes:
        report = judge(bundles[name], runtime)
        _show(report)
        assert report.verdict == "PASS", report.reasons
        assert report.notes == []


@pytest.mark.parametrize("name", OTHERS)
def test_other_weights_input_variants_and_slots_pass(
    other_bundle: Callable[[str], Path], judge: Judge, name: str
) -> None:
    path = other_bundle(name)
    report = judge(path, Bundle(path).runtimes[0])
    _show(report)
    assert report.verdict == "PASS", report.reasons
    assert bool(report.notes) == (Bundle(path).manifest.slots < 6)
