"""Every command, and every process that it starts, ignores packages of the current folder.

The installed script puts its own folder on the path, not the current one; ``-P`` does that here.
`make wheel-test` does the same with the installed script.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.foreign_packages import FOREIGN, commands_of, foreign_folder

TOOL = "from mobilesam_cli import main; main()"
HELPS = """
import typer
from mobilesam_cli import app
command = typer.main.get_command(app)
for name in command.commands:
    command([name, "--help"], standalone_mode=False)
print(len(command.commands), "commands")
"""


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return foreign_folder(tmp_path_factory.mktemp("foreign") / "here")


def python(there: Path, repository: Path, code: str, *arguments: str) -> str:
    """What the code prints, run in the folder; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        cwd=there,
        env=os.environ | {"PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_folder_would_be_noticed(there: Path) -> None:
    for name in FOREIGN:
        done = subprocess.run(
            [sys.executable, "-c", f"import {name}"], cwd=there, capture_output=True, text=True
        )
        assert f"the package '{name}' of the current folder was imported" in done.stderr


def test_every_help_is_ours(there: Path, repository: Path) -> None:
    shown = python(there, repository, HELPS)
    assert int(shown.splitlines()[-1].split()[0]) >= 15


def test_commands_and_their_workers_run(there: Path, repository: Path) -> None:
    for arguments in commands_of("torchscript", "fp32", image_size=64):
        python(there, repository, TOOL, *arguments)
    assert (there / "report" / "report.html").is_file() and (there / "overlay.png").is_file()
