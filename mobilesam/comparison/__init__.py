"""MobileSAM beside other models that segment: parameters, size and time on this machine."""
