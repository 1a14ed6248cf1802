"""One folder served to this machine's browser, and to nobody else."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

from mobilesam.errors import InputError
from mobilesam.web.site import HEADERS

HOST = "127.0.0.1"
DEFAULT_PORT = 8017
"""Taken where no port is asked for; another one if it is in use."""


class _Handler(SimpleHTTPRequestHandler):
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
        ".json": "application/json",
    }

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def list_directory(self, path: object) -> BytesIO | None:
        """A folder's contents are not shown."""
        self.send_error(404)
        return None

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is said of each request."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that goes away in the middle of a file is no error."""


@contextmanager
def serving(folder: Path, port: int | None = None) -> Iterator[ThreadingHTTPServer]:
    """A server of one folder on localhost; the caller runs ``serve_forever``.

    Args:
        folder: whose files are served, with the headers that let a page use threads.
        port: 0 takes any free one; None :data:`DEFAULT_PORT`, or any if it is in use.

    Raises:
        InputError: the port is in use, or may not be taken.
    """
    handler = partial(_Handler, directory=str(folder))
    try:
        server = _Server((HOST, DEFAULT_PORT if port is None else port), handler)
    except OSError as error:
        if port is not None:
            why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be had ({error})"
            raise InputError(f"port {port} {why}: give another with --port") from None
        server = _Server((HOST, 0), handler)
    with server:
        yield server


def address_of(server: ThreadingHTTPServer) -> str:
    """Where a browser finds it."""
    return f"http://localhost:{server.server_address[1]}/"
