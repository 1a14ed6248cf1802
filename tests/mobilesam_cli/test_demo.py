"""`mobilesam demo` and the exit status of verdicts, with made-up reports in place of long runs."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from converters.exporting import ExportResult
from parity.report import Report
from tests.mobilesam_cli.conftest import Run
from tests.parity import report_samples


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, here: Path) -> dict[str, Any]:
    """Replaces export and parity; holds what they were asked, and the report to give."""
    seen: dict[str, Any] = {"report": report_samples.report(report_samples.bundle())}

    def export(**options: Any) -> list[ExportResult]:
        seen["export"] = options
        return [ExportResult(options["out"] / "coreml-fp16", "coreml", "fp16", False, 1.0)]

    def compare(bundles: list[Path], **options: Any) -> Report:
        seen["parity"] = {"bundles": bundles, **options}
        report: Report = seen["report"]
        return report

    monkeypatch.setattr("converters.exporting.export", export)
    monkeypatch.setattr("parity.comparison.compare", compare)
    return seen


def test_demo_goes_all_the_way_and_names_the_report(run: Run, asked: dict[str, Any]) -> None:
    result = run("demo")
    assert result.exit_code == 0, result.output
    assert asked["export"]["weights"] == "demo"
    assert asked["export"]["out"] == Path("exports/demo")
    assert "targets" not in asked["export"], "all of them"
    assert asked["export"]["schemes"] == ("fp32", "fp16")
    assert asked["parity"]["bundles"] == [Path("exports/demo/coreml-fp16")]
    assert asked["parity"].get("measure", True) and "images" not in asked["parity"]
    assert asked["parity"]["gallery"] is True
    assert result.stdout.splitlines()[-1] == "report: reports/demo/report.html"
    assert Path("reports/demo/report.html").is_file()


def test_demo_fails_when_one_verdict_does(run: Run, asked: dict[str, Any]) -> None:
    asked["report"] = report_samples.mixed()
    result = run("demo", "--json", "--report", "elsewhere")
    assert result.exit_code == 1
    verdicts = {bundle["verdict"] for bundle in json.loads(result.stdout)["bundles"]}
    assert verdicts == {"PASS", "FAIL"}
    assert asked["export"]["progress"] is False and asked["parity"]["progress"] is False
    assert Path("elsewhere/junit.xml").is_file(), "a failed run leaves its report"


def test_parity_passes_its_options_on(run: Run, asked: dict[str, Any], bundle: Path) -> None:
    options = ("--threads", "3", "--no-measure", "--compute-units", "CPU_ONLY")
    result = run("parity", bundle.parent, bundle, *options)
    assert result.exit_code == 0, result.output
    assert asked["parity"]["bundles"] == [bundle.parent, bundle]
    assert asked["parity"]["command"] == shlex.join(
        ["mobilesam", "parity", str(bundle.parent), str(bundle), *options]
    )
    assert asked["parity"]["threads"] == 3
    assert asked["parity"]["measure"] is False
    assert asked["parity"]["gallery"] is False
    assert asked["parity"]["compute_units"] == "CPU_ONLY"
    assert not list(Path().rglob("report.*")), "no report is written unless a folder is given"
    assert run("parity", bundle, "--gallery").exit_code == 0
    assert asked["parity"]["gallery"] is True
