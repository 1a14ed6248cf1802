"""The exit status of `mobilesam phones`, with made-up verdicts."""

from pathlib import Path
from typing import Any

import pytest

from tests.mobilesam_cli.conftest import Run
from tests.parity import report_samples

GOOD: dict[str, str] = {"verdict": "PASS"}
WRONG: dict[str, str] = {"verdict": "FAIL"}
REFUSED: dict[str, str] = {"verdict": "FAIL", "refused": "CONV_2D"}


@pytest.mark.parametrize(
    ("verdicts", "status"),
    [
        ([GOOD, GOOD], 0),
        ([GOOD, REFUSED], 0),
        ([GOOD, REFUSED, WRONG], 1),
        ([REFUSED], 1),
    ],
    ids=["right", "one refused", "one wrong", "nothing that runs"],
)
def test_a_wrong_file_fails_and_a_refused_one_does_not(
    run: Run,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    verdicts: list[dict[str, Any]],
    status: int,
) -> None:
    made = report_samples.report(*(report_samples.bundle(**own) for own in verdicts))
    monkeypatch.setattr("parity.phones.run.check_phones", lambda *_, **__: made)
    result = run("phones")
    assert result.exit_code == status, result.output
    assert "reports/phones/report.html" in result.stdout
