"""Fetching a file once: verified, never half there, and safe when two processes want it."""

import os
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request

from filelock import FileLock

from mobilesam.errors import DownloadError
from mobilesam.files import sha256_of

CACHE_VARIABLE = "MOBILESAM_CACHE"
"""Environment variable that names the folder for downloaded files."""

URL_VARIABLE = "MOBILESAM_URL"
"""Environment variable that names another address for the official checkpoint."""

_WAY_OUT = (
    f"set {URL_VARIABLE} to a mirror, or download the file yourself and pass its path as weights"
)
_TIMEOUT_S = 30.0


def cache_folder() -> Path:
    """``MOBILESAM_CACHE`` if set, else the platform's cache folder (``~/.cache/mobilesam``)."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "mobilesam"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home()) / "mobilesam"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mobilesam"


def fetch(url: str, sha256: str, destination: Path, *, progress: bool = True) -> Path:
    """Download `url` to `destination` unless it is there already; returns `destination`.

    The file appears under its name only when its SHA-256 is `sha256`; a download that was cut
    starts again at the next call. A lock file beside it lets one process download while others
    wait for the result. `progress` draws a bar on stderr.

    Raises `DownloadError`: no network, HTTP error, connection cut or stalled for 30 seconds,
    another digest than `sha256`, or a destination that cannot be written.
    """
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(destination.with_name(destination.name + ".lock")):
            if not destination.exists() or sha256_of(destination) != sha256:
                # Pieces of downloads whose process was killed: nobody writes them any more.
                for piece in destination.parent.glob(f"{destination.name}.*.partial"):
                    piece.unlink()
                _download(url, sha256, destination, progress)
    except OSError as error:  # what the network raises has become a DownloadError
        raise DownloadError(
            f"The download cannot be stored as '{destination}' ({error.strerror or error}); "
            f"set {CACHE_VARIABLE} to a folder that is writable and has space."
        ) from error
    return destination


def _download(url: str, sha256: str, destination: Path, progress: bool) -> None:
    from torch.hub import download_url_to_file  # loads torch, which cache_folder does not need

    try:
        Request(url)  # refuses what is no address; download_url_to_file would leave an empty piece
        with _socket_timeout(_TIMEOUT_S):
            download_url_to_file(url, str(destination), sha256, progress)
    except HTTPError as error:
        error.close()
        raise DownloadError(
            f"{url} answered HTTP {error.code} {error.reason}; {_WAY_OUT}."
        ) from error
    except URLError as error:
        raise DownloadError(
            f"{url} cannot be reached ({error.reason}); check the network, or {_WAY_OUT}."
        ) from error
    except (TimeoutError, ConnectionError, ssl.SSLError, HTTPException) as error:
        reason = str(error) or type(error).__name__
        raise DownloadError(
            f"The connection to {url} was cut ({reason}); run the command again, or {_WAY_OUT}."
        ) from error
    except ValueError as error:
        raise DownloadError(
            f"'{url}' is not an address to download from ({error}); {_WAY_OUT}."
        ) from error
    except RuntimeError as error:  # the digest; an early end of the connection shows only in it
        raise DownloadError(
            f"What came from {url} was thrown away, because its SHA-256 is not the checkpoint's "
            f"({error}): if the connection was cut, run the command again, else {_WAY_OUT}."
        ) from error


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Let no new connection of this process stay silent for longer; PyTorch sets no limit."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
