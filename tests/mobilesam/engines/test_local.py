"""Processes of this machine: every item once, whatever happens to a worker."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mobilesam.engines.base import Job
from mobilesam.engines.local import LocalEngine
from mobilesam.engines.table import engine_of
from mobilesam.errors import BundleError, CheckpointError, InputError
from tests.mobilesam.engines.jobs import Failing, Squares

ITEMS = list(range(20))
SQUARES = [(item, item * item) for item in ITEMS]


def done(job: Job[int, int], workers: int, items: list[int] = ITEMS) -> list[tuple[int, int]]:
    """What an engine gives, sorted."""
    with LocalEngine(workers).run(job, items) as results:
        return sorted(results)


@pytest.mark.parametrize("workers", [1, 3])
def test_every_item_once(tmp_path: Path, workers: int) -> None:
    assert done(Squares(tmp_path), workers) == SQUARES
    given = [line for file in tmp_path.iterdir() for line in file.read_text().splitlines()]
    assert sorted(map(int, given)) == ITEMS
    assert len(list(tmp_path.iterdir())) <= workers


def test_no_items(tmp_path: Path) -> None:
    assert done(Squares(tmp_path), 2, []) == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_dies_is_replaced(tmp_path: Path, workers: int) -> None:
    assert done(Squares(tmp_path, deadly=7, deaths=1), workers) == SQUARES


def test_an_item_that_kills_again_and_again(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ended by SIGKILL.* over 7, and so was one before it"):
        done(Squares(tmp_path, deadly=7, deaths=9), 2)
    assert len(list(tmp_path.glob("death*"))) == 2


@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [
        ("open: refused", BundleError, "the runtime takes no Foo"),
        ("open: checkpoint", CheckpointError, "no such weights"),
        ("open: killed", InputError, "ended by SIGKILL.* before it had any work"),
        ("work: input", InputError, "three is too many"),
        ("work: fault", RuntimeError, "(?s)a worker process failed:.*ValueError: a fault of ours"),
    ],
)
def test_what_a_worker_raises(how: str, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        done(Failing(how), 2)


def test_workers_end_with_the_block(tmp_path: Path) -> None:
    with LocalEngine(2).run(Squares(tmp_path), ITEMS) as results:
        next(results)
    assert not running([int(file.name) for file in tmp_path.iterdir()])


def test_workers_end_with_their_parent(tmp_path: Path, repository: Path) -> None:
    """Also where a script has no guard around what it does, and is killed."""
    script = tmp_path / "script.py"
    script.write_text(
        f"""
from pathlib import Path
from mobilesam.engines.local import LocalEngine
from mobilesam.engines.table import engine_of
from tests.mobilesam.engines.jobs import Squares
import time
with LocalEngine(2).run(Squares(Path({str(tmp_path)!r})), range(9)) as results:
    print(next(results), flush=True)
    time.sleep(60)
"""
    )
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(repository)},
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"(")
    workers = [int(file.name) for file in tmp_path.iterdir() if file.name.isdecimal()]
    assert workers
    process.kill()
    process.wait()
    process.stdout.close()
    until = time.monotonic() + 20
    while running(workers) and time.monotonic() < until:
        time.sleep(0.02)
    assert not running(workers)


def running(processes: list[int]) -> list[int]:
    """Those that are there, and no zombies."""
    found = []
    for pid in processes:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            continue
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z":
            found.append(pid)
    return found


def test_engines_by_name() -> None:
    with pytest.raises(InputError, match="no engine 'spark': local and ray are known"):
        engine_of("spark")
    with pytest.raises(InputError, match="at least one worker is needed, not 0"):
        engine_of("local", workers=0)
    with pytest.raises(InputError, match="take the engine ray with it"):
        engine_of("local", address="localhost:1")
