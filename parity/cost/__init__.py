"""What a bundle costs: load time, latency and memory, each measured in a process of its own."""
