"""A folder fit for a release: bundles, digests, the report, golden masks, the page, code for apps."""

from parity.release.folder import write_release

__all__ = ["write_release"]
