"""The CI workflow names only what exists: it has not been run."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from mobilesam_cli import app
from parity.replay.run import COMPUTE_UNITS

MADE = ("exports", "reports", "build/")
"""Folders that the workflow's own steps make."""


@pytest.fixture(scope="module")
def jobs(repository: Path) -> dict[str, Any]:
    workflow = yaml.safe_load((repository / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    found: dict[str, Any] = workflow["jobs"]
    return found


def steps(jobs: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in jobs.values() for step in job["steps"]]


def commands(jobs: dict[str, Any]) -> Iterator[list[str]]:
    """Every command line of every step, split as a shell would."""
    for step in steps(jobs):
        for line in step.get("run", "").splitlines():
            yield shlex.split(line)


def test_there_is_a_linux_and_a_mac_job(jobs: dict[str, Any]) -> None:
    assert [job["runs-on"] for job in jobs.values()] == ["ubuntu-24.04", "macos-15"]
    assert all(job["timeout-minutes"] <= 120 for job in jobs.values())


def test_actions_are_pinned_to_a_major_version(jobs: dict[str, Any]) -> None:
    used = [step["uses"] for step in steps(jobs) if "uses" in step]
    assert len(used) == 5
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", action) for action in used)


def test_every_step_does_something_known(jobs: dict[str, Any]) -> None:
    for step in steps(jobs):
        assert set(step) <= {"name", "uses", "with", "run", "env", "if"}
        assert ("uses" in step) != ("run" in step)


def test_make_targets_exist(jobs: dict[str, Any], repository: Path) -> None:
    targets = re.findall(r"^([a-z]+):", (repository / "Makefile").read_text("utf-8"), re.MULTILINE)
    asked = [line[1] for line in commands(jobs) if line[0] == "make"]
    assert asked and set(asked) <= set(targets)


def test_paths_exist(jobs: dict[str, Any], repository: Path) -> None:
    for line in commands(jobs):
        for word in line:
            if "/" in word and not word.startswith((".venv/", "https://", *MADE)):
                assert (repository / word).exists(), word
    for step in steps(jobs):
        cached = step.get("with", {}).get("cache-dependency-path")
        assert cached is None or (repository / cached).is_file()


def test_selected_tests_exist(jobs: dict[str, Any], repository: Path) -> None:
    selections = [line for line in commands(jobs) if "pytest" in line]
    assert len(selections) == 2
    for line in selections:
        expression = line[line.index("-k") + 1]
        (place,) = [word for word in line if word.startswith(("tests", "mobile_runtime_tests"))]
        path = repository / place
        files = [path] if path.is_file() else sorted(path.glob("test_*.py"))
        text = "\n".join(file.read_text("utf-8") for file in files)
        for word in set(re.findall(r"\w+", expression)) - {"and", "or", "not", "coreml"}:
            assert re.search(rf"def test_\w*{word}", text), word
        assert "coreml" in text


def test_commands_and_options_exist(jobs: dict[str, Any]) -> None:
    front: Any = typer.main.get_command(app)
    asked = [line[1:] for line in commands(jobs) if line[0] == ".venv/bin/mobilesam"]
    assert len(asked) == 5
    for words in asked:
        command = front.commands[words.pop(0)]
        if hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, words


def test_the_script_s_options_exist(jobs: dict[str, Any]) -> None:
    (line,) = [line for line in commands(jobs) if "build/replay/run.py" in line]
    assert line[2] == "--compute-units"
    assert set(line[3:]) <= set(COMPUTE_UNITS)
