"""Every bundle on the hardware that it will meet, or what stands in for it: one report of all."""
