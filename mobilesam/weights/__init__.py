"""Checkpoints: found by name or path, downloaded, read without running code in them, and fitted."""
