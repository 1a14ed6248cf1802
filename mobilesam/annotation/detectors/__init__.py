"""Where boxes come from: one file each, and the table of them."""
