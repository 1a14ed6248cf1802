"""Downloads against a real HTTP server on this machine, behaving well and badly."""

import hashlib
import socket
import subprocess
import sys
import threading
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
    """Serves BODY. The attributes below make it misbehave; `ranges` records what was asked."""

    daemon_threads = True
    honours_range = True
    cut_after: int | None = None
    states_length = True
    stalls = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/weights.pt"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        if self.path != "/weights.pt":
            self.send_error(404)
            return
        start = 0
        if asked and self.server.honours_range:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(BODY):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")
        else:
            self.send_response(200)
        if self.server.states_length:
            self.send_header("Content-Length", str(len(BODY) - start))
        self.end_headers()
        cut = self.server.cut_after
        self.wfile.write(BODY[start : len(BODY) if cut is None else start + cut])
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


def part_of(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def get(url: str, target: Path) -> Path:
    return fetch(url, SHA256, target, progress=False)


def refused(url: str, target: Path) -> str:
    """The one-line message of the refusal; nothing may lie under the target's name."""
    with pytest.raises(DownloadError) as caught:
        get(url, target)
    message = str(caught.value)
    assert isinstance(caught.value, CheckpointError)
    assert "\n" not in message and message.endswith(".")
    assert not target.exists()
    return message


def test_downloads_once(server: Server, target: Path) -> None:
    assert get(server.url, target) == target
    assert target.read_bytes() == BODY
    assert not part_of(target).exists()
    get(server.url, target)
    assert server.ranges == [None]


def test_without_a_stated_length(server: Server, target: Path) -> None:
    server.states_length = False
    assert get(server.url, target).read_bytes() == BODY


def test_a_damaged_cached_file_is_downloaded_again(server: Server, target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.write_bytes(BODY[:-1] + b"\0")
    assert get(server.url, target).read_bytes() == BODY


def test_a_cut_connection_keeps_what_came_and_resumes(server: Server, target: Path) -> None:
    server.cut_after = 700_000
    message = refused(server.url, target)
    assert "cut after 0.7 of 2.0 MB" in message and "resume" in message
    assert part_of(target).stat().st_size == 700_000
    server.cut_after = None
    assert get(server.url, target).read_bytes() == BODY
    assert server.ranges == [None, "bytes=700000-"]


def test_a_stalled_connection(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_TIMEOUT_S", 0.3)
    server.cut_after, server.stalls = 1000, True
    assert "cut after" in refused(server.url, target)


def test_a_server_without_range_starts_over(server: Server, target: Path) -> None:
    target.parent.mkdir(parents=True)
    part_of(target).write_bytes(BODY[:1000])
    server.honours_range = False
    assert get(server.url, target).read_bytes() == BODY
    assert server.ranges == ["bytes=1000-"]


def test_a_part_of_another_file_is_thrown_away(server: Server, target: Path) -> None:
    target.parent.mkdir(parents=True)
    part_of(target).write_bytes(b"x" * 1000)
    assert get(server.url, target).read_bytes() == BODY
    assert server.ranges == ["bytes=1000-", None]


@pytest.mark.parametrize("part", [BODY, BODY + b"more"])
def test_a_part_that_is_complete_or_too_long(server: Server, target: Path, part: bytes) -> None:
    target.parent.mkdir(parents=True)
    part_of(target).write_bytes(part)
    assert get(server.url, target).read_bytes() == BODY


def test_wrong_digest(server: Server, target: Path) -> None:
    with pytest.raises(DownloadError, match="SHA-256") as caught:
        fetch(server.url, "0" * 64, target, progress=False)
    assert SHA256 in str(caught.value) and "MOBILESAM_URL" in str(caught.value)
    assert not target.exists() and not part_of(target).exists()


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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a full disk")
def test_a_full_disk(server: Server, target: Path) -> None:
    target.parent.mkdir(parents=True)
    part_of(target).symlink_to("/dev/full")
    assert "No space left" in refused(server.url, target)


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
    assert server.ranges == [None]


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MOBILESAM_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("MOBILESAM_CACHE", "")
    assert cache_folder().name == "mobilesam"
