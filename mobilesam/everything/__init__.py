"""Segment everything: every mask of a photo, without a prompt."""

from mobilesam.everything.generator import MaskGenerator

__all__ = ["MaskGenerator"]
