"""Is what ships still MobileSAM? Masks, size and latency of exported files against PyTorch."""
