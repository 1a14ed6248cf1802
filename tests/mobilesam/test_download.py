"""Downloads against a real HTTP server on this machine, behaving well and badly."""

import hashlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mobilesam.errors import CheckpointError, DownloadError
from mobilesam.weights import download
from mobilesam.weights.download import cache_folder, fetch

BODY = bytes(range(256)) * 8000  # 2 MB
SHA256 = hashlib.sha256(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves BODY. The attributes below make it misbehave; `asked` counts requests."""

    daemon_threads = True
    cut_after: int | None = None
    states_length = True
    stalls = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/weights.pt"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked += 1
        if self.path != "/weights.pt":
            self.send_error(404)
            return
        self.send_response(200)
        if self.server.states_length:
            self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY[: self.server.cut_after])
        if self.server.stalls:
            self.wfile.flush()
            threading.Event().wait(5)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test output quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "new" / "folder" / "weights.pt"


def names_beside(target: Path) -> set[str]:
    """Names in the target's folder, but for the lock's."""
    return {path.name for path in target.parent.iterdir()} - {target.name + ".lock"}


def get(url: str, target: Path) -> Path:
    return fetch(url, SHA256, target, progress=False)


def refused(url: str, target: Path) -> str:
    """The one-line message of the refusal; nothing may lie under the target's name."""
    with pytest.raises(DownloadError) as caught:
        get(url, target)
    message = str(caught.value)
    assert isinstance(caught.value, CheckpointError)
    assert "\n" not in message and message.endswith(".")
    assert not target.parent.is_dir() or not names_beside(target)
    return message


def test_downloads_once(server: Server, target: Path) -> None:
    assert get(server.url, target) == target
    assert target.read_bytes() == BODY
    assert names_beside(target) == {target.name}
    get(server.url, target)
    assert server.asked == 1


def test_without_a_stated_length(server: Server, target: Path) -> None:
    server.states_length = False
    assert get(server.url, target).read_bytes() == BODY


def test_a_damaged_cached_file_is_downloaded_again(server: Server, target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.write_bytes(BODY[:-1] + b"\0")
    assert get(server.url, target).read_bytes() == BODY


@pytest.mark.parametrize("states_length", [True, False])
def test_a_cut_connection_leaves_nothing_and_starts_again(
    server: Server, target: Path, states_length: bool
) -> None:
    server.cut_after, server.states_length = 700_000, states_length
    assert "was cut, run the command again" in refused(server.url, target)
    server.cut_after = None
    assert get(server.url, target).read_bytes() == BODY


def test_a_killed_download_leaves_no_piece(server: Server, target: Path) -> None:
    server.cut_after, server.stalls = 1_000_000, True
    script = (
        "import sys, pathlib, mobilesam.weights.download as d;"
        "d.fetch(sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), progress=False)"
    )
    with subprocess.Popen([sys.executable, "-c", script, server.url, SHA256, str(target)]) as died:
        deadline = time.monotonic() + 60
        while not list(target.parent.glob("*.partial")) and time.monotonic() < deadline:
            time.sleep(0.01)
        died.kill()
    assert not target.exists() and len(names_beside(target)) == 1
    server.cut_after, server.stalls = None, False
    get(server.url, target)
    assert names_beside(target) == {target.name}


def test_a_stalled_connection(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_TIMEOUT_S", 0.3)
    server.cut_after, server.stalls = 1000, True
    assert "was cut (timed out)" in refused(server.url, target)
    assert socket.getdefaulttimeout() is None


def test_wrong_digest(server: Server, target: Path) -> None:
    with pytest.raises(DownloadError, match="SHA-256") as caught:
        fetch(server.url, "0" * 64, target, progress=False)
    assert SHA256 in str(caught.value) and "MOBILESAM_URL" in str(caught.value)
    assert not names_beside(target)


def test_no_network(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        message = refused(f"http://127.0.0.1:{unused.getsockname()[1]}/weights.pt", target)
    assert "cannot be reached" in message and "MOBILESAM_URL" in message


def test_http_error(server: Server, target: Path) -> None:
    assert "HTTP 404" in refused(server.url.replace("weights", "elsewhere"), target)


@pytest.mark.parametrize("url", ["weights.pt", "nonsense://host/weights.pt", "http://"])
def test_what_is_not_an_address(url: str, target: Path) -> None:
    assert url in refused(url, target)


def test_a_file_address_works_as_a_mirror(target: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror.pt"
    mirror.write_bytes(BODY)
    assert get(mirror.as_uri(), target).read_bytes() == BODY


def test_a_folder_that_cannot_be_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match="MOBILESAM_CACHE"):
        get(server.url, tmp_path / "file" / "weights.pt")


def test_a_disk_that_fills_up(server: Server, target: Path) -> None:
    resource = pytest.importorskip("resource", reason="no limits on file sizes here")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        message = refused(server.url, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "cannot be stored" in message and "MOBILESAM_CACHE" in message


def test_two_processes_download_one_copy(server: Server, target: Path) -> None:
    script = (
        "import sys, pathlib, mobilesam.weights.download as d;"
        "d.fetch(sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), progress=True)"
    )
    command = [sys.executable, "-c", script, server.url, SHA256, str(target)]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    errors = [process.communicate(timeout=120)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], errors
    assert target.read_bytes() == BODY
    assert server.asked == 1


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MOBILESAM_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("MOBILESAM_CACHE", "")
    assert cache_folder().name == "mobilesam"
