"""What labels are written as: one file each, and the table of them."""
