"""Data sets annotated: a detector's boxes become masks, and masks become label files."""
