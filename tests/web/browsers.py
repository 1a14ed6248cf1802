"""The page in a headless Chromium, driven as a person drives it: mouse, keyboard, files."""

import io
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from mobilesam.errors import MissingDependencyError
from mobilesam.web.page import built_page
from mobilesam.web.server import address_of, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TIMEOUT_MS = 240_000
SETTLED = "body:is([data-state=empty],[data-state=ready],[data-state=error])"


def page_folder() -> Path:
    """The built page; skips where it cannot be built."""
    try:
        return built_page()
    except MissingDependencyError as error:
        pytest.skip(str(error))


@contextmanager
def chromium() -> Iterator["Browser"]:
    """A headless browser; skips where there is none."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason='needs playwright: pip install "playwright"'
    )
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("needs Chromium, such as Debian's: apt-get install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=found, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server of a folder, in a thread of this process."""
    with serving(folder, 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield address_of(server)
        finally:
            server.shutdown()
            thread.join()


class Visitor:
    """A page as its visitor uses it.

    Attributes:
        requested: addresses that the page has asked for.
    """

    def __init__(self, browser: "Browser", address: str) -> None:
        self.page: Page = browser.new_page(viewport={"width": 1200, "height": 900})
        self.page.set_default_timeout(TIMEOUT_MS)
        self.requested: list[str] = []
        self.page.context.on("request", lambda request: self.requested.append(request.url))
        self.page.goto(address)
        self.settle()

    @property
    def canvas(self) -> "Locator":
        return self.page.locator("#canvas")

    @property
    def status(self) -> str:
        return self.page.inner_text("#status")

    @property
    def state(self) -> str | None:
        return self.page.get_attribute("body", "data-state")

    def settle(self) -> str:
        """Wait until the page has done what it was asked; what it says then."""
        self.page.wait_for_timeout(150)
        self.page.wait_for_selector(SETTLED)
        return self.status

    def choose(self, photo: Path) -> None:
        """Give a photo file."""
        self.page.set_input_files("#file", photo)
        self.settle()
        assert self.state == "ready", self.status

    def click(self, x: float, y: float, size: tuple[int, int], button: str = "left") -> list[float]:
        """Click at the pixel of the screen that is nearest to a place of the photo.

        Args:
            x, y: in pixels of the photo.
            size: the photo's width and height.

        Returns:
            The place in the photo where that was.
        """
        at = self._screen(x, y, size)
        self.page.mouse.click(*at, button="right" if button == "right" else "left")
        assert self.settle() and self.state == "ready", self.status
        return self._photo(*at, size)

    def drag(self, box: tuple[float, float, float, float], size: tuple[int, int]) -> list[float]:
        """Drag a box; the box in the photo."""
        start, end = self._screen(*box[:2], size), self._screen(*box[2:], size)
        self.page.mouse.move(*start)
        self.page.mouse.down()
        self.page.mouse.move(*end, steps=4)
        self.page.mouse.up()
        assert self.settle() and self.state == "ready", self.status
        return [*self._photo(*start, size), *self._photo(*end, size)]

    def mask(self) -> np.ndarray:
        """The mask as the page saves it, bool HxW."""
        with Image.open(io.BytesIO(self.saved("#save"))) as image:
            values = np.asarray(image.convert("L"))
        assert set(np.unique(values)) <= {0, 255}
        return values > 0

    def saved(self, button: str) -> bytes:
        """The file that a button gives."""
        with self.page.expect_download() as download:
            self.page.click(button)
        return download.value.path().read_bytes()

    def _box(self) -> tuple[float, float, float, float]:
        found = self.canvas.bounding_box()
        assert found is not None
        return found["x"], found["y"], found["width"], found["height"]

    def _screen(self, x: float, y: float, size: tuple[int, int]) -> tuple[int, int]:
        left, top, width, height = self._box()
        return round(left + x * width / size[0]), round(top + y * height / size[1])

    def _photo(self, x: int, y: int, size: tuple[int, int]) -> list[float]:
        left, top, width, height = self._box()
        return [(x - left) * size[0] / width, (y - top) * size[1] / height]
