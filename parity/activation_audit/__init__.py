"""Scales and zero points of activations in exported files, against the ranges of calibration."""
