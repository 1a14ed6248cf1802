"""The constants that SAM normalises a photo with."""

PIXEL_MEAN = (123.675, 116.28, 103.53)
"""Mean of R, G, B on the 0-255 scale, subtracted before the encoder."""

PIXEL_STD = (58.395, 57.12, 57.375)
"""Standard deviation of R, G, B on the 0-255 scale, divided by after the mean."""
