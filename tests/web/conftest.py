"""What the tests of the page in a browser share."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.web.browsers import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """A headless one; skips where there is none."""
    with chromium() as started:
        yield started
