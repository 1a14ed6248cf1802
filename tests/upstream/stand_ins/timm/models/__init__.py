"""Stand-in: only what upstream MobileSAM imports. See `tests/upstream/oracle.py`."""
