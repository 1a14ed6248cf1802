"""The tiny model, to read and to change."""

from collections.abc import Callable

import pytest

from mobilesam.model.sam import MobileSAM
from tests import tiny_bundles


@pytest.fixture
def tiny_model() -> MobileSAM:
    """Not to be changed."""
    return tiny_bundles.tiny_model()


@pytest.fixture
def changed_model() -> Callable[[], MobileSAM]:
    """Makes models that a test may change."""
    return tiny_bundles.make_tiny_model
