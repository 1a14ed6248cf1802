"""A Ray cluster: every item once, also where a worker is killed; and addresses where nobody is."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mobilesam.engines import ray_cluster
from mobilesam.engines.base import Job
from mobilesam.engines.ray_cluster import RayEngine
from mobilesam.errors import BundleError, InputError, MissingDependencyError
from tests.mobilesam.engines.jobs import Failing, Squares
from tests.ray_clusters import two_machines

pytest.importorskip("ray", reason="needs the extra ray")
pytestmark = pytest.mark.slow

ITEMS = list(range(40))
SQUARES = [(item, item * item) for item in ITEMS]


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Address of a cluster of two machines."""
    with two_machines() as address:
        yield address


def done(job: Job[int, int], address: str) -> list[tuple[int, int]]:
    """What an engine gives, sorted."""
    with RayEngine(2, address, 0).run(job, ITEMS) as results:
        return sorted(results)


def test_every_item_once_though_a_worker_dies(cluster: str, tmp_path: Path) -> None:
    assert done(Squares(tmp_path, deadly=7, deaths=1), cluster) == SQUARES
    workers = [file for file in tmp_path.iterdir() if file.name.isdecimal()]
    assert len(workers) >= 2 and len(list(tmp_path.glob("death*"))) == 1


def test_an_item_that_kills_again_and_again(cluster: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="again and again over one item"):
        done(Squares(tmp_path, deadly=7, deaths=99), cluster)


@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [
        ("open: refused", BundleError, "the runtime takes no Foo"),
        ("work: input", InputError, "three is too many"),
        ("work: fault", RuntimeError, "(?s)a worker process failed:.*ValueError: a fault of ours"),
    ],
)
def test_what_a_worker_raises(cluster: str, how: str, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        done(Failing(how), cluster)


def test_nobody_is_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(InputError, match=rf"no Ray cluster answers at '127.0.0.1:{port}'.*refused"):
        RayEngine(2, f"127.0.0.1:{port}", 0)


def test_somebody_else_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Who accepts, and never says a word."""
    monkeypatch.setattr(ray_cluster, "ANSWER_S", 8.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        before = time.monotonic()
        with pytest.raises(InputError, match=f"no Ray cluster answers at '{address}'"):
            done(Squares(tmp_path), address)
        assert time.monotonic() - before < 60


def test_a_cluster_of_this_machine_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with RayEngine(2, None, 0).run(Squares(tmp_path), ITEMS) as results:
        assert sorted(results) == SQUARES


@pytest.mark.parametrize("address", ["here", "ray://host:10001", "host:port", ":1"])
def test_no_address(address: str) -> None:
    with pytest.raises(InputError, match="is no address of a Ray cluster"):
        RayEngine(2, address, 0)


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"mobilesam-export\[ray\]"):
        RayEngine(2, None, 0)
