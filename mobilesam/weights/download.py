"""Fetching a file once: resumable, verified, and safe when two processes want it together."""

import os
import sys
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

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
_BLOCK = 1 << 18


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

    What has arrived is kept in ``<destination>.part`` and resumed by the next call. The file
    appears under its name only when its SHA-256 is `sha256`. A lock file beside it lets one
    process download while others wait for the result. `progress` draws a bar on stderr.

    Raises `DownloadError`: no network, HTTP error, connection cut or stalled for 30 seconds,
    another digest than `sha256`, or a destination that cannot be written.
    """
    part = destination.with_name(destination.name + ".part")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(destination.with_name(destination.name + ".lock")):
            if destination.exists() and sha256_of(destination) == sha256:
                return destination
            _download_verified(url, sha256, part, progress)
            os.replace(part, destination)
    except OSError as error:  # whatever the network raises has become a DownloadError below
        raise DownloadError(
            f"The download cannot be stored as '{destination}' ({error.strerror or error}); "
            f"set {CACHE_VARIABLE} to a folder that is writable and has space."
        ) from error
    return destination


def _download_verified(url: str, sha256: str, part: Path, progress: bool) -> None:
    """Fill `part` with bytes of the right digest, or remove it and raise."""
    resumed = _download(url, part, progress)
    found = sha256_of(part)
    if found != sha256 and resumed:
        # The earlier piece may have been of another file: once more, from the first byte.
        part.unlink()
        _download(url, part, progress)
        found = sha256_of(part)
    if found != sha256:
        part.unlink()
        raise DownloadError(
            f"The file at {url} has SHA-256 {found} instead of {sha256}, so it was thrown away; "
            f"{_WAY_OUT}."
        )


def _download(url: str, part: Path, progress: bool) -> bool:
    """Append what is missing of `url` to `part`; True when a piece was there already."""
    have = part.stat().st_size if part.exists() else 0
    response = _request(url, have)
    if response is None:  # nothing lies beyond what is there: the digest will judge it
        return True
    with response:
        resumed = have > 0 and response.status == 206
        if not resumed:
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length and length.isdigit() else None
        with part.open("ab" if resumed else "wb") as file:
            _copy(url, response, file, have, total, progress)
    return resumed


def _request(url: str, start: int) -> HTTPResponse | None:
    """The response to a GET from byte `start` on; None when the server has no byte there."""
    headers = {"User-Agent": "mobilesam-export", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        request = urllib.request.Request(url, headers=headers)
        response: HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:
            return None
        raise DownloadError(
            f"{url} answered HTTP {error.code} {error.reason}; {_WAY_OUT}."
        ) from error
    except (ValueError, HTTPException) as error:
        raise DownloadError(
            f"'{url}' is not an address to download from ({error}); {_WAY_OUT}."
        ) from error
    except OSError as error:
        reason = getattr(error, "reason", None) or error
        raise DownloadError(
            f"{url} cannot be reached ({reason}); check the network, or {_WAY_OUT}."
        ) from error
    return response


def _copy(
    url: str, response: HTTPResponse, file: BinaryIO, have: int, total: int | None, progress: bool
) -> None:
    """Stream the response's body into `file`, checking that all of it arrives."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not progress,
    )
    name = Path(file.name).name.removesuffix(".part")
    with bar:
        task = bar.add_task(f"Downloading {name}", total=total, completed=have)
        while block := _read(url, response, have, total):
            file.write(block)
            have += len(block)
            bar.update(task, completed=have)
    if total is not None and have < total:
        raise _cut(url, have, total)


def _read(url: str, response: HTTPResponse, have: int, total: int | None) -> bytes:
    """The next block, or b"" at the end."""
    try:
        return response.read1(_BLOCK)
    except (OSError, HTTPException) as error:
        raise _cut(url, have, total) from error


def _cut(url: str, have: int, total: int | None) -> DownloadError:
    of = f" of {total / 1e6:.1f}" if total else ""
    return DownloadError(
        f"The connection to {url} was cut after {have / 1e6:.1f}{of} MB; "
        f"run the command again to resume, or {_WAY_OUT}."
    )
