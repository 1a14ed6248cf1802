"""The weights in an exported file, held against the reference model's, one channel at a time."""
