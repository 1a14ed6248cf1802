"""The bundles of the tests of parity."""

from tests.parity.conftest import bundle_of

__all__ = ["bundle_of"]
