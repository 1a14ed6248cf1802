"""A folder fit for a release: bundles, digests, report, golden masks, page, card, code."""

from parity.release.folder import write_release

__all__ = ["write_release"]
