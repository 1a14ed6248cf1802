"""TFLite and ONNX files as browsers run them, in headless Chromium: LiteRT.js, ONNX Runtime Web."""

import base64
import json
import shutil
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from playwright.sync_api import sync_playwright

from mobilesam.bundle.contract import Component
from mobilesam.errors import BundleError, MissingDependencyError
from mobilesam.runtimes.base import Arrays
from mobilesam.runtimes.checked import CheckedRunner
from mobilesam.web.page import built_page, source_folder
from mobilesam.web.server import address_of, serving
from mobilesam.web.site import write_site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TIMEOUT_MS = 600_000.0
"""After which an answer is given up."""


def chromium_path() -> str:
    """Where this machine's Chromium is.

    Raises:
        MissingDependencyError: it has none.
    """
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    raise MissingDependencyError(
        "files are run as in a browser by Chromium or Chrome, which this machine lacks: install "
        "it (on Debian: apt-get install chromium)"
    )


class _Shared:
    """This process's browser: Playwright allows one at a time."""

    users = 0
    stack: ExitStack | None = None
    browser: "Browser | None" = None


@contextmanager
def _shared_browser() -> "Iterator[Browser]":
    """The browser, started by the first of its users and closed by the last."""
    if _Shared.browser is None:
        with ExitStack() as stack:
            playwright = stack.enter_context(sync_playwright())
            # Containers lack what Chromium's sandbox needs; the page that runs is ours.
            browser = playwright.chromium.launch(
                executable_path=chromium_path(), args=["--no-sandbox"]
            )
            stack.callback(browser.close)
            _Shared.browser, _Shared.stack = browser, stack.pop_all()
    _Shared.users += 1
    try:
        yield _Shared.browser
    finally:
        _Shared.users -= 1
        if _Shared.users == 0 and _Shared.stack is not None:
            _Shared.browser = None
            _Shared.stack.close()


class BrowserRunner(CheckedRunner):
    """A page with a worker for each component, driven by Playwright."""

    package: ClassVar[str]
    """Of npm, which runs the files."""

    words: ClassVar[str]

    _page: "Page | None" = None
    _stack: ExitStack | None = None

    @classmethod
    def require(cls) -> None:
        chromium_path()
        built_page()

    @property
    def engine(self) -> str:
        about = json.loads((source_folder() / "package.json").read_text("utf-8"))
        return f"{self.words} {about['dependencies'][self.package]} (Chromium, wasm)"

    def load(self) -> None:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="mobilesam-web-")))
            write_site([self.bundle], built_page(), folder / "page")
            server = stack.enter_context(serving(folder / "page", 0))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
            browser = stack.enter_context(_shared_browser())
            page = browser.new_context(bypass_csp=True).new_page()
            stack.callback(page.context.close)
            page.set_default_timeout(TIMEOUT_MS)
            page.goto(f"{address_of(server)}runner.html")
            page.wait_for_function("() => 'runComponent' in globalThis")
            self._page = page
            super().load()
            self._stack = stack.pop_all()

    def unload(self) -> None:
        super().unload()
        self._page = None
        if self._stack is not None:
            self._stack.close()
            self._stack = None

    def open_file(self, component: Component, path: Path) -> str:
        assert self._page is not None
        asked = [component, self.threads]
        opened: str = self._page.evaluate("(asked) => openComponent(...asked)", asked)
        return opened

    def execute(self, component: Component, arrays: dict[str, np.ndarray]) -> Arrays:
        assert self._page is not None
        inputs = {name: _text_of(value) for name, value in arrays.items()}
        found: dict[str, Any] = self._page.evaluate(
            "(asked) => runComponent(...asked)", [component, inputs]
        )
        return {name: _array_of(value) for name, value in found.items()}


class LiteRTWebRunner(BrowserRunner):
    """LiteRT.js: LiteRT itself, compiled to wasm."""

    name = "litert_web"
    package = "@litertjs/core"
    words = "LiteRT.js"


class ONNXRuntimeWebRunner(BrowserRunner):
    """ONNX Runtime Web, by wasm."""

    name = "onnxruntime_web"
    package = "onnxruntime-web"
    words = "ONNX Runtime Web"


_STORED = {"float32": "<f4", "uint8": "u1"}
"""How a tensor's values lie in the text that goes to the page and back."""


def _text_of(array: np.ndarray) -> dict[str, Any]:
    dtype = array.dtype.name
    content = np.ascontiguousarray(array, _STORED[dtype]).tobytes()
    data = base64.b64encode(content).decode("ascii")
    return {"data": data, "shape": list(array.shape), "dtype": dtype}


def _array_of(text: dict[str, Any]) -> np.ndarray:
    dtype = text["dtype"]
    values = np.frombuffer(base64.b64decode(text["data"]), _STORED[dtype]).astype(dtype)
    if values.size != int(np.prod(text["shape"])):
        raise BundleError(f"a tensor of {values.size} values is no {text['shape']}")
    return values.reshape(text["shape"])
