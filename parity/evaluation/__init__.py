"""Masks against those that people drew: mean IoU by prompt type."""
