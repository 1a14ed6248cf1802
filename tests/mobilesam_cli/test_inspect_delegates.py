"""`mobilesam inspect --delegates`, with nothing compiled: that takes long."""

import json
from collections.abc import Callable

import pytest

from mobilesam.runtimes.bundle import Bundle
from tests.mobilesam_cli.conftest import Run


def test_what_stays_outside_is_shown(
    tiny_bundle: Callable[..., Bundle], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mobilesam.emulators.htp.missing", lambda: "no HTP here: get one")
    path = tiny_bundle("tflite").path
    plain = run("inspect", path)
    shown = run("inspect", path, "--delegates")
    assert shown.exit_code == 0 and "no HTP" in shown.stdout and "XNNPACK" in shown.stdout
    assert "nothing stays outside" in shown.stdout
    assert "encoder and decoder: no HTP here" in shown.stdout  # what holds of both is said once
    assert "what each delegate takes" not in plain.stdout
    said = json.loads(run("inspect", path, "--delegates", "--json").stdout)
    assert {each["delegate"] for each in said["delegates"]} == {
        "XNNPACK (CPU)",
        "LiteRT GPU",
        "Qualcomm HTP (NPU)",
    }
    assert "delegates" not in json.loads(run("inspect", path, "--json").stdout)
