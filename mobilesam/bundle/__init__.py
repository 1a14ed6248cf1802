"""What an app team receives: the I/O contract, and the folder with its ``manifest.json``."""
