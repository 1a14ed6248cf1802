"""Measurements run by hand: their figures depend on the machine, so that no test asserts them."""
